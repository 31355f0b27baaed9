/**
 * The server under many readers, good and bad: a thousand streaming requests in all, 64 at a time, some of whose readers leave,
 * read slowly, send what is malformed or too large. Every answer is held to that of the same request alone, slots and memory
 * are watched, and at the end nothing may be left. Not a benchmark: it tells right from wrong, exit code 1 for wrong.
 *
 *   tsx bench/serve-stress.ts                   about 10 seconds, over a small model with random weights
 *   tsx bench/serve-stress.ts --minutes 20      the long run; --requests N, --at-once 64, --model FOLDER, --variant full, --seed N
 *
 * The server is a process of its own (dist: build first), and only 127.0.0.1 is spoken to. Who does what is drawn from the
 * seed; when things happen is the machine's, which is what makes it a stress.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { createReferenceBackend } from "../src/backends/index.ts";
import { saveModelFolder } from "../src/checkpoint/index.ts";
import { presets, Transformer } from "../src/model/index.ts";
import { createRandom, type Random } from "../src/platform/random.ts";
import { Runtime } from "../src/tensor/index.ts";
import { trainBpe } from "../src/tokenizer/index.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    requests: { type: "string" },
    "at-once": { type: "string", default: "64" },
    model: { type: "string" },
    variant: { type: "string", default: "bitnet" },
    seed: { type: "string", default: "1" },
  },
});
const atOnce = Number(values["at-once"]);
const seed = Number(values.seed);
const minutes = values.minutes === undefined ? null : Number(values.minutes);
/** By default what is done in 10 seconds of them; a long run goes on until its time is over and it has its thousand. */
const wantedRequests = Number(values.requests ?? (minutes === null ? Number.POSITIVE_INFINITY : 1000));
const wantedMs = minutes === null ? (values.requests === undefined ? 10_000 : 0) : minutes * 60_000;
for (const [name, value] of Object.entries({ atOnce, seed, wantedRequests, wantedMs }))
  if (!(value >= 0)) throw new Error(`${name} is ${value}; expected a number`);
/** Past these something hangs, and the run ends. */
const longestMs = wantedMs + 15 * 60_000;
const mostRequests = 1_000_000;

/**
 * The packed engine's sums do not depend on what else is in a batch as long as no sequence brings more than 8 tokens at once
 * (src/infer/packed/engine.test.ts): so prompts are short, start token included, and answers are held to the bit. A
 * full-precision model has no int8 codes that another order of sums could tip, and gets long prompts too.
 */
const shortTokens = 7;
const openings =
  "the cat|a dog|she|they|then|house|in the|on a mat|ran|said|there|and|sat|were|mat|dog ran|one|me".split("|");

interface Kind {
  prompt: string;
  [field: string]: unknown;
}

/** Requests that differ in all that a server could mix up: prompt, length, number of texts, what ends them, constraint. */
const kindOf = (prompt: string, i: number): Kind => {
  const schema = {
    type: "object",
    properties: { a: { type: "integer" }, b: { enum: ["x", "y"] } },
    required: ["a", "b"],
  };
  return {
    prompt,
    max_tokens: i % 6 === 5 ? 80 : 5 + ((i * 13) % 60),
    temperature: 0,
    ignore_eos: i % 3 === 0,
    stop: i % 5 === 0 ? [" the"] : undefined,
    n: i % 8 === 0 ? 2 : 1,
    response_format: i % 6 === 5 ? { type: "json_schema", json_schema: { name: "s", schema } } : undefined,
  };
};

async function chooseKinds(url: string): Promise<Kind[]> {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { meta: { variant: string } }[] };
  const full = data[0].meta.variant === "full";
  const prompts: string[] = [];
  for (const [i, opening] of openings.entries()) {
    const long = `${opening} ${"and then ".repeat(4 * i)}`.trim();
    if (full && i % 2 === 1) prompts.push(long);
    const body = JSON.stringify({ content: opening });
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${url}/tokenize`, { method: "POST", headers, body });
    const { tokens } = (await response.json()) as { tokens: number[] };
    if (tokens.length <= shortTokens) prompts.push(opening);
  }
  if (prompts.length < 6) throw new Error(`only ${prompts.length} prompts have up to ${shortTokens} tokens here`);
  return Array.from({ length: 24 }, (_, i) => kindOf(prompts[i % prompts.length], i));
}

interface Answer {
  status: number;
  texts: string[];
  finish: (string | null)[];
  done: boolean;
}

type Manner = "good" | "leaves" | "slow" | "malformed" | "oversized" | "whole";
const counts: Record<string, number> = {};
const wrong: string[] = [];
const count = (what: string, by = 1) => {
  counts[what] = (counts[what] ?? 0) + by;
};

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-stress-"));
  const model = values.model ?? (await smallModel(join(folder, "model")));
  const server = await startServer(model);
  try {
    const kinds = await chooseKinds(server.url);
    const alone = await answersAlone(server.url, kinds);
    console.log(`${alone.length} kinds of requests answered alone; now ${atOnce} at a time`);
    await stress(server.url, kinds, alone);
    await checkNothingLeft(server.url);
    server.child.kill("SIGTERM");
    const code = await server.ended;
    if (code !== 0) wrong.push(`the server ended with ${code}`);
  } finally {
    server.child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(
    Object.entries(counts)
      .map(([what, n]) => `${what} ${n}`)
      .join(", "),
  );
  for (const line of wrong.slice(0, 20)) console.log(`WRONG: ${line}`);
  console.log(wrong.length === 0 ? "every answer right, nothing left" : `${wrong.length} wrong`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

async function smallModel(path: string): Promise<string> {
  const text = "the cat sat on the mat and a dog ran in the house, then she said they were there. ".repeat(8);
  const { tokenizer } = await trainBpe([text], { vocabSize: 300 });
  const runtime = new Runtime(createReferenceBackend());
  const variant = values.variant as "bitnet" | "full";
  const config = {
    ...presets.tiny,
    variant,
    vocabSize: tokenizer.vocabSize,
    width: 64,
    layers: 2,
    heads: 4,
    kvHeads: 2,
  };
  const model = new Transformer(runtime, { ...config, hiddenWidth: 96, contextLength: 256, initStd: 0.5 }, seed);
  await saveModelFolder(path, model, tokenizer);
  model.dispose();
  return path;
}

async function startServer(model: string) {
  const program = resolve(import.meta.dirname, "../dist/cli/main.js");
  const args = [
    "serve",
    "-m",
    model,
    "--port",
    "0",
    "--parallel",
    "8",
    "--queue",
    "256",
    "--log",
    "error",
    "--engine",
    "packed",
  ];
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((done) => child.on("close", done));
  const line = await new Promise<string>((done) => {
    child.stdout.once("data", (data) => done(String(data)));
    void ended.then(() => done(""));
  });
  const url = / at (http:\/\/127\.0\.0\.1:\d+) /.exec(line)?.[1];
  if (!url) throw new Error(`the server did not begin: ${line}`);
  console.log(line.trim());
  return { url, child, ended };
}

/** Of each kind, by itself, twice: an answer that is not the same twice alone could not be judged. */
async function answersAlone(url: string, kinds: readonly Kind[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const [kind, body] of kinds.entries()) {
    const [first, second] = [await stream(url, body, "good"), await stream(url, body, "good")];
    if (first?.status !== 200 || !first.done) throw new Error(`kind ${kind} alone: ${JSON.stringify(first)}`);
    if (JSON.stringify(first) !== JSON.stringify(second)) throw new Error(`kind ${kind} differs from itself alone`);
    if (body.response_format) for (const text of first.texts) JSON.parse(text);
    answers.push(first);
  }
  return answers;
}

async function stress(url: string, kinds: readonly Kind[], alone: readonly Answer[]): Promise<void> {
  const started = Date.now();
  const random = createRandom(seed);
  let begun = 0;
  let [firstRss, lastPrinted] = [0, started];
  const goesOn = () => {
    const ms = Date.now() - started;
    if (ms > longestMs || begun >= mostRequests || wrong.length > 100) return false;
    if (ms < wantedMs) return true;
    return Number.isFinite(wantedRequests) && begun < wantedRequests;
  };
  const lane = async () => {
    while (goesOn()) {
      begun++;
      await one(url, kinds, alone, random);
    }
  };
  const watch = setInterval(async () => {
    const metrics = await metricsOf(url).catch(() => null);
    if (!metrics) return;
    const { bitnet_slots_active: active, bitnet_slots: slots, bitnet_queue_waiting: waiting } = metrics;
    if (active > slots) wrong.push(`${active} texts in ${slots} slots`);
    const rss = metrics.process_resident_memory_bytes;
    // The first tenth of a run fills caches and pools.
    if (firstRss === 0 && Date.now() - started > Math.min(120_000, wantedMs / 10)) firstRss = rss;
    if (Date.now() - lastPrinted < (minutes === null ? 2000 : 30_000)) return;
    lastPrinted = Date.now();
    console.log(
      `${Math.round((Date.now() - started) / 1000)} s: ${begun} requests, ${active} active, ${waiting} waiting, ${mib(rss)} MiB`,
    );
  }, 1000);
  await Promise.all(Array.from({ length: atOnce }, lane));
  clearInterval(watch);
  count("requests", begun);
  const rss = (await metricsOf(url)).process_resident_memory_bytes;
  console.log(`memory: ${mib(firstRss)} MiB after the first tenth, ${mib(rss)} MiB at the end`);
  // A leak of a kilobyte a request would be told in 20 minutes; the collector's own play is below 64 MiB.
  if (firstRss > 0 && rss > firstRss + 64 * 2 ** 20) wrong.push(`memory grew from ${mib(firstRss)} to ${mib(rss)} MiB`);
}

const mib = (bytes: number) => Math.round(bytes / 2 ** 20);

async function one(url: string, kinds: readonly Kind[], alone: readonly Answer[], random: Random): Promise<void> {
  const kind = random.integer(kinds.length);
  const draw = random.uniform();
  const manner: Manner =
    draw < 0.15
      ? "leaves"
      : draw < 0.25
        ? "slow"
        : draw < 0.3
          ? "malformed"
          : draw < 0.33
            ? "oversized"
            : draw < 0.4
              ? "whole"
              : "good";
  const pieces = random.integer(12);
  const answer = await stream(url, kinds[kind], manner, pieces).catch((error) => {
    wrong.push(`${manner}, kind ${kind}: ${error.message}`);
    return null;
  });
  count(manner);
  if (!answer) return;
  if (manner === "malformed" || manner === "oversized") {
    const expected = manner === "malformed" ? 400 : 413;
    if (answer.status !== expected) wrong.push(`${manner}: status ${answer.status}, expected ${expected}`);
  } else if (answer.status === 503) count("refused for a full queue");
  else if (JSON.stringify(answer) !== JSON.stringify(alone[kind]))
    wrong.push(`${manner}, kind ${kind}: ${JSON.stringify(answer)}, alone ${JSON.stringify(alone[kind])}`);
  else count("answers held to those alone");
}

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

/**
 * Requests and how long each may yet be silent, in seconds that this program ran: a machine that sleeps, or a job that is
 * paused with its server, is no server that hangs.
 */
const watched = new Map<ClientRequest, number>();
const secondsOfSilence = 120;
setInterval(() => {
  for (const [request, left] of watched)
    if (left > 0) watched.set(request, left - 1);
    else request.destroy(new Error(`no answer in ${secondsOfSilence} s`));
}, 1000).unref();

/** Sends one request in its manner. null: the reader left. */
async function stream(url: string, body: object, manner: Manner, pieces = 0): Promise<Answer | null> {
  const { n = 1 } = body as { n?: number };
  let text = JSON.stringify({ ...body, stream: manner !== "whole" });
  if (manner === "malformed") text = text.slice(0, -1 - pieces);
  if (manner === "oversized") text = JSON.stringify({ prompt: "x".repeat(2 ** 20) });
  const request = httpRequest(`${url}/v1/completions`, {
    method: "POST",
    agent,
    headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
  });
  watched.set(request, secondsOfSilence);
  request.on("close", () => watched.delete(request));
  let left = false;
  const response = await new Promise<IncomingMessage>((done, fail) => {
    request.on("response", done);
    request.on("error", fail);
    request.end(text);
    // Some leave before anything has come.
    if (manner === "leaves" && pieces === 0)
      setTimeout(() => {
        left = true;
        request.destroy(new LeftError());
      }, 1);
  }).catch((error) => {
    // A server that refuses a body may close the connection while it is still being sent.
    if (error instanceof LeftError) return null;
    if (manner === "oversized" && /EPIPE|ECONNRESET/.test(error.code)) return "closed" as const;
    throw error;
  });
  if (response === null) return null;
  if (response === "closed") return { status: 413, texts: [], finish: [], done: false };
  const answer: Answer = {
    status: response.statusCode!,
    texts: new Array<string>(n).fill(""),
    finish: new Array<null>(n).fill(null),
    done: false,
  };
  let rest = "";
  let seen = 0;
  // Who leaves may do so amid reading.
  const pieceStream = manner === "leaves" ? untilDestroyed(response) : response;
  for await (const data of pieceStream) {
    if (watched.has(request)) watched.set(request, secondsOfSilence);
    rest += data;
    if (manner === "whole" || answer.status !== 200) continue;
    const events = rest.split("\n\n");
    rest = events.pop()!;
    for (const event of events) take(answer, event.replace(/^data: /, ""));
    if (manner === "leaves" && ++seen >= pieces) {
      request.destroy();
      return null;
    }
    if (manner === "slow") await new Promise((done) => setTimeout(done, 5 + pieces));
  }
  if (left) return null;
  if (manner === "whole" && answer.status === 200) {
    for (const choice of JSON.parse(rest).choices) {
      answer.texts[choice.index] = choice.text;
      answer.finish[choice.index] = choice.finish_reason;
    }
    answer.done = true;
  }
  return answer;
}

class LeftError extends Error {}

async function* untilDestroyed(response: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    yield* response;
  } catch (error) {
    if (!response.destroyed) throw error;
  }
}

function take(answer: Answer, data: string): void {
  if (data === "[DONE]") {
    answer.done = true;
    return;
  }
  const { choices, error } = JSON.parse(data);
  if (error) throw new Error(error.message);
  for (const { index, text, finish_reason } of choices) {
    answer.texts[index] += text;
    answer.finish[index] = finish_reason ?? answer.finish[index];
  }
}

async function metricsOf(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const samples = text.split("\n").filter((line) => /^[a-z]/.test(line) && !line.includes("{"));
  return Object.fromEntries(samples.map((line) => [line.split(" ")[0], Number(line.split(" ")[1])]));
}

/** Slots, queue and requests are as before the first: nobody was forgotten. */
async function checkNothingLeft(url: string): Promise<void> {
  let metrics: Record<string, number> = {};
  for (let attempt = 0; attempt < 100; attempt++) {
    metrics = await metricsOf(url);
    // This request itself is in flight.
    if (
      metrics.bitnet_slots_active === 0 &&
      metrics.bitnet_queue_waiting === 0 &&
      metrics.bitnet_http_requests_in_flight === 1
    )
      break;
    await new Promise((done) => setTimeout(done, 100));
  }
  for (const [name, expected] of [
    ["bitnet_slots_active", 0],
    ["bitnet_queue_waiting", 0],
    ["bitnet_http_requests_in_flight", 1],
  ] as const)
    if (metrics[name] !== expected) wrong.push(`${name} is ${metrics[name]} at the end, expected ${expected}`);
  if (metrics.bitnet_texts_submitted_total !== metrics.bitnet_texts_finished_total)
    wrong.push(`${metrics.bitnet_texts_submitted_total} texts began, ${metrics.bitnet_texts_finished_total} ended`);
  count("texts", metrics.bitnet_texts_finished_total);
}

await main();
