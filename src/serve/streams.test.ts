// Texts under way over real connections: who leaves frees the slot, a full queue refuses, a server that closes finishes.
// Oracle: the scheduler's own counts (src/infer/scheduler.test.ts), the sequences that the scripted engine has open, and the
// alphabet, told by hand. Nothing here waits for a clock: limits of time pass when a test says so.
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { eventsOf, jsonOf, serveAlphabet, until } from "../../test/support/serving.ts";
import { eventBody } from "./answers.ts";
import { windowPieces } from "./messages.ts";

const greedy = { temperature: 0 };
const long = { prompt: "a", max_tokens: 500, logit_bias: { "256": -100 }, stream: true, ...greedy };

const ask = (url: string, body: object, signal?: AbortSignal) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });

/** Time stands still until the test moves it on. */
function holdTime() {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  return { pass: (ms: number) => vi.advanceTimersByTimeAsync(ms) };
}

const statsOf = async ({ client }: Awaited<ReturnType<typeof serveAlphabet>>) => client.ask<"stats">({ kind: "stats" });

describe("a reader that leaves", () => {
  test.for([
    ["streamed", true],
    ["whole", false],
  ] as const)("frees the slot of a %s answer, and those of its other texts", async ([, stream]) => {
    const serving = await serveAlphabet();
    const url = await serving.url();
    serving.gate.shut();
    const controller = new AbortController();
    const answer = ask(url, { ...long, stream, n: 2 }, controller.signal).catch((error) => error);
    await until(async () => (await statsOf(serving)).active === 2);
    controller.abort();
    await answer;
    await until(() => serving.client.pending === 0);
    serving.gate.open();
    await until(async () => (await statsOf(serving)).active === 0);
    expect(serving.engine.open()).toBe(0);
    const { finished, submitted, generatedTokens } = await statsOf(serving);
    expect([submitted, finished]).toEqual([2, 2]);
    expect(generatedTokens).toBeLessThan(10);
    await until(() => serving.server.metrics.inFlight === 0);
  });

  test("amid a stream frees the slot too, and the next request has its answer", async () => {
    const serving = await serveAlphabet({ limits: { slots: 1, queue: 0 } });
    const url = await serving.url();
    const controller = new AbortController();
    const response = await ask(url, { ...long, max_tokens: 599 }, controller.signal);
    await response.body!.getReader().read();
    controller.abort();
    await until(async () => (await statsOf(serving)).active === 0);
    const next = await ask(url, { prompt: "w", ...greedy });
    expect((await jsonOf(next)).choices[0].text).toBe("xyz");
  });

  test("before its request has come whole costs nothing", async () => {
    const serving = await serveAlphabet();
    const { port } = new URL(await serving.url());
    const socket = connect(Number(port), "127.0.0.1");
    socket.write(
      "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{",
    );
    await until(() => serving.server.metrics.inFlight === 1);
    socket.destroy();
    await until(() => serving.server.metrics.inFlight === 0);
    expect((await statsOf(serving)).submitted).toBe(0);
  });
});

test("a full queue refuses with 503 and Retry-After; who waits has the slot when it is free", async () => {
  const serving = await serveAlphabet({ limits: { slots: 1, queue: 1 } });
  const url = await serving.url();
  serving.gate.shut();
  const first = ask(url, { prompt: "w", ...greedy });
  await until(async () => (await statsOf(serving)).active === 1);
  const second = ask(url, { prompt: "x", ...greedy });
  await until(async () => (await statsOf(serving)).waiting === 1);
  const third = await ask(url, { prompt: "y", ...greedy });
  expect(third.status).toBe(503);
  expect(third.headers.get("retry-after")).toMatch(/^\d+$/);
  expect((await jsonOf(third)).error).toMatchObject({ type: "server_error", code: "queue_full" });
  const stream = await ask(url, { prompt: "y", stream: true, ...greedy });
  expect(stream.status).toBe(503);
  serving.gate.open();
  const texts = await Promise.all([first, second].map(async (answer) => (await jsonOf(answer)).choices[0].text));
  expect(texts).toEqual(["xyz", "yz"]);
});

describe("limits of time", () => {
  test("an answer that takes too long is ended: 504, and its slot is free", async () => {
    const time = holdTime();
    const serving = await serveAlphabet({ timeoutMs: 40 });
    const url = await serving.url();
    serving.gate.shut();
    const asked = ask(url, { prompt: "w", ...greedy });
    await until(async () => (await statsOf(serving)).active === 1);
    await time.pass(39);
    expect((await statsOf(serving)).active).toBe(1);
    await time.pass(1);
    const response = await asked;
    expect(response.status).toBe(504);
    expect((await jsonOf(response)).error).toMatchObject({ type: "timeout_error", code: "timeout" });
    serving.gate.open();
    await until(async () => (await statsOf(serving)).active === 0);
  });

  test("a stream that takes too long ends with an error, without [DONE]", async () => {
    const time = holdTime();
    const serving = await serveAlphabet({ timeoutMs: 60 });
    const url = await serving.url();
    serving.gate.shut();
    const response = await ask(url, { prompt: "w", stream: true, echo: true, ...greedy });
    expect(response.status).toBe(200);
    await time.pass(60);
    const { events, done } = eventsOf(await response.text());
    expect(done).toBe(false);
    expect(events.at(-1)!.error.code).toBe("timeout");
  });

  test("a reader that takes nothing is given up, and nothing is made for it meanwhile", async () => {
    const time = holdTime();
    let made = 0;
    let ended = false;
    async function* events() {
      try {
        for (;;) yield `data: ${made++}\n\n`;
      } finally {
        ended = true;
      }
    }
    let stalls = 0;
    const body = eventBody(events(), { patienceMs: 20, onStall: () => stalls++ });
    await body.getReader().read();
    await time.pass(19);
    expect(stalls).toBe(0);
    await time.pass(1);
    expect(stalls).toBe(1);
    expect(made).toBe(1);
    expect(ended).toBe(false);
  });
});

test("the engine sends a window of pieces to a reader that takes none, and the slot is free all the same", async () => {
  const serving = await serveAlphabet();
  const controller = new AbortController();
  const { prompt: text } = long;
  const settings = {
    ...{ maxTokens: 500, temperature: 0, topK: 0, topP: 1, minP: 0, typicalP: 1, repeatPenalty: 1, repeatLastN: -1 },
    ...{ presencePenalty: 0, frequencyPenalty: 0, stopStrings: [], seed: 1, ignoreEnd: true, constraint: null },
    logitBias: [[256, -100]] as [number, number][],
    logProbabilities: null,
  };
  const running = await serving.client.begin(
    { prompts: [{ text }], copies: 1, settings, echo: false },
    controller.signal,
  );
  await until(async () => (await statsOf(serving)).finished === 1);
  const reader = running.events[Symbol.asyncIterator]();
  let pieces = 0;
  let report = null;
  while (!report) {
    const { value } = await reader.next();
    if ("report" in value) report = value.report;
    else pieces++;
  }
  expect(pieces).toBe(500);
  expect(report.finish).toBe("length");
  expect(windowPieces).toBeLessThan(pieces);
});

describe("a server that closes", () => {
  test("finishes streams under way, refuses what comes then, and ends", async () => {
    const serving = await serveAlphabet();
    const url = await serving.url();
    serving.gate.shut();
    const stream = await ask(url, { prompt: "w", stream: true, echo: true, ...greedy });
    const closing = serving.server.close();
    // Refused by the server, or by the system where it no longer listens.
    const late = await ask(url, { prompt: "w" }).then(
      ({ status }) => status,
      () => "no connection",
    );
    expect([503, "no connection"]).toContain(late);
    serving.gate.open();
    const { events, done } = eventsOf(await stream.text());
    expect(done).toBe(true);
    expect(events.map(({ choices }) => choices[0].text).join("")).toBe("wxyz");
    await closing;
  });

  test("does not wait for a connection that has sent nothing", async () => {
    const serving = await serveAlphabet();
    const { port } = new URL(await serving.url());
    const socket = connect(Number(port), "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    const ended = new Promise((resolve) => socket.once("close", resolve));
    await Promise.all([serving.server.close(), ended]);
  });

  test("ends those that take longer than it may wait, with an error that says so", async () => {
    const time = holdTime();
    const serving = await serveAlphabet({ graceMs: 30 });
    const url = await serving.url();
    serving.gate.shut();
    const stream = await ask(url, { prompt: "w", stream: true, echo: true, ...greedy });
    const closing = serving.server.close();
    await time.pass(30);
    const { events, done } = eventsOf(await stream.text());
    expect(done).toBe(false);
    expect(events.at(-1)!.error).toMatchObject({ code: "shutting_down" });
    await closing;
  });
});

test("HTTP answers while a pass is under way, malformed HTTP is refused, and a connection serves again after an error", async () => {
  const serving = await serveAlphabet();
  const url = await serving.url();
  serving.gate.shut();
  const waiting = ask(url, { prompt: "w", ...greedy });
  await until(async () => (await statsOf(serving)).active === 1);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  const raw = await new Promise<string>((resolve) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let text = "";
    socket.on("data", (data) => {
      text += data;
    });
    socket.on("close", () => resolve(text));
    socket.end("NOT HTTP\r\n\r\n");
  });
  expect(raw).toMatch(/^HTTP\/1.1 400 /);
  const large = await new Promise<number>((resolve, reject) => {
    const request = httpRequest(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
    });
    request.on("response", (response) => resolve(response.statusCode!));
    request.on("error", reject);
    request.end(JSON.stringify({ prompt: "a".repeat(2 ** 20) }));
  });
  expect(large).toBe(413);
  serving.gate.open();
  expect((await jsonOf(waiting)).choices[0].text).toBe("xyz");
});
