// The server, judged by OpenAI's own client (npm's `openai`), unchanged but for its address. Oracle: that client, its types
// read the answers and its streams, errors and retries are its own; the alphabet, which the scripted engine writes.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { type Json, serveAlphabet } from "../support/serving.ts";

const folder = import.meta.dirname;
const absent: string | null = (() => {
  try {
    execFileSync(process.execPath, [join(folder, "install.js"), "openai"], { stdio: ["ignore", "ignore", "pipe"] });
    return null;
  } catch (error) {
    const said = (error as { stderr?: Buffer }).stderr ?? error;
    return String(said).trim().split("\n").at(-1)!;
  }
})();

const judge = (title: string, body: () => Promise<void>) =>
  absent ? test.skip(`${title} (skipped: ${absent})`, () => {}) : test(title, body);

/** The client; its types are not installed where these tests are type-checked. */
async function clientFor(url: string, more: object = {}): Promise<Json> {
  const path = createRequire(join(folder, "openai.test.ts")).resolve("openai");
  const { default: OpenAI } = await import(pathToFileURL(path).href);
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, ...more });
}

const messages = [{ role: "user", content: "a" }];

judge("chat, whole and streamed, with log-probabilities, usage and n", async () => {
  const serving = await serveAlphabet();
  const client = await clientFor(await serving.url());
  const whole = await client.chat.completions.create({
    model: "alphabet",
    messages,
    temperature: 0,
    logprobs: true,
    top_logprobs: 2,
    n: 2,
  });
  expect(whole.choices.map(({ message }: Json) => message.content)).toEqual(
    new Array(2).fill("abcdefghijklmnopqrstuvwxyz"),
  );
  expect(whole.choices[0].logprobs.content).toHaveLength(26);
  expect(whole.choices[0].finish_reason).toBe("stop");
  expect(whole.usage.total_tokens).toBe(whole.usage.prompt_tokens + 2 * 27);
  expect(whole._request_id).toMatch(/^req_/);

  const stream = await client.chat.completions.create({
    ...{ model: "alphabet", messages, temperature: 0, max_tokens: 5, stream: true },
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  expect(text).toBe("abcde");
  expect(usage.completion_tokens).toBe(5);
});

judge("the client's own helpers: a stream put together, and parsed JSON of a schema", async () => {
  const serving = await serveAlphabet();
  const client = await clientFor(await serving.url());
  const runner = client.chat.completions.stream({ model: "alphabet", messages, temperature: 0, max_tokens: 3 });
  expect(await runner.finalContent()).toBe("abc");
  expect((await runner.finalChatCompletion()).choices[0].finish_reason).toBe("length");
  const schema = {
    type: "object",
    properties: { k: { enum: ["yes", "no"] } },
    required: ["k"],
    additionalProperties: false,
  };
  const held = await client.chat.completions.parse({
    ...{ model: "alphabet", messages, temperature: 0 },
    response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: true } },
  });
  expect(["yes", "no"]).toContain(JSON.parse(held.choices[0].message.content).k);
});

judge("completions, whole and streamed, models and embeddings", async () => {
  const serving = await serveAlphabet();
  const client = await clientFor(await serving.url());
  const whole = await client.completions.create({ model: "alphabet", prompt: ["w", "x"], temperature: 0, logprobs: 1 });
  expect(whole.choices.map(({ text }: Json) => text)).toEqual(["xyz", "yz"]);
  const stream = await client.completions.create({ model: "alphabet", prompt: "w", temperature: 0, stream: true });
  const pieces: string[] = [];
  for await (const chunk of stream) pieces.push(chunk.choices[0].text);
  expect(pieces.join("")).toBe("xyz");
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  expect(models).toEqual(["alphabet"]);
  expect((await client.models.retrieve("alphabet")).object).toBe("model");
  // The client asks for base64 by itself and decodes it.
  const { data } = await client.embeddings.create({ model: "alphabet", input: "b" });
  expect(data[0].embedding[0]).toBeCloseTo(98 / Math.hypot(98, 1), 6);
});

judge("an echoed prompt with log-probabilities, reasoning_effort, embeddings of token ids", async () => {
  const serving = await serveAlphabet();
  const client = await clientFor(await serving.url());
  const asked = { model: "alphabet", prompt: [[97, 98, 99]], echo: true, logprobs: 1, max_tokens: 0, temperature: 0 };
  const { choices } = await client.completions.create(asked);
  expect(choices[0].text).toBe("abc");
  expect(choices[0].logprobs.tokens).toEqual(["a", "b", "c"]);
  expect(choices[0].logprobs.token_logprobs).toEqual([null, ...new Array(2).fill(expect.closeTo(Math.log(0.8), 5))]);
  expect(choices[0].logprobs.top_logprobs[0]).toBeNull();
  const chat = { model: "alphabet", messages, temperature: 0, max_tokens: 2, reasoning_effort: "low" };
  expect((await client.chat.completions.create(chat)).choices[0].message.content).toBe("ab");
  const { data } = await client.embeddings.create({ model: "alphabet", input: [[98], [97, 99]] });
  expect(data[0].embedding[0]).toBeCloseTo(98 / Math.hypot(98, 1), 6);
  expect(data).toHaveLength(2);
});

judge("errors are the client's classes; a stream that is left frees its slot", async () => {
  const serving = await serveAlphabet({ apiKeys: ["right"] });
  const url = await serving.url();
  const wrong = await clientFor(url);
  const named = async (call: Promise<unknown>) => {
    const error: Json = await call.catch((cause) => cause);
    return [error.constructor.name, error.status, error.code];
  };
  expect(await named(wrong.models.list())).toEqual(["AuthenticationError", 401, "invalid_api_key"]);
  const client = await clientFor(url, { apiKey: "right" });
  expect(await named(client.chat.completions.create({ model: "other", messages }))).toEqual([
    "NotFoundError",
    404,
    "model_not_found",
  ]);
  const tools = [{ type: "function", function: { name: "f" } }];
  expect(await named(client.chat.completions.create({ model: "alphabet", messages, tools }))).toEqual([
    "BadRequestError",
    400,
    "invalid_value",
  ]);

  const stream = await client.completions.create({
    model: "alphabet",
    prompt: "a",
    max_tokens: 500,
    logit_bias: { 256: -100 },
    stream: true,
  });
  for await (const _ of stream) break;
  for (let left = 1; left > 0; ) left = (await serving.client.ask<"stats">({ kind: "stats" })).active;
  expect(serving.engine.open()).toBe(0);
});

judge("a full queue is tried again by the client, and answered", async () => {
  const serving = await serveAlphabet({ limits: { slots: 1, queue: 0 } });
  const client = await clientFor(await serving.url(), { maxRetries: 3 });
  serving.gate.shut();
  const ask = (prompt: string) => client.completions.create({ model: "alphabet", prompt, temperature: 0 });
  const first = ask("w");
  for (let active = 0; active === 0; ) active = (await serving.client.ask<"stats">({ kind: "stats" })).active;
  const second = ask("x");
  for (let refused = 0; refused === 0; ) refused = (await serving.client.ask<"stats">({ kind: "stats" })).refused;
  serving.gate.open();
  expect([(await first).choices[0].text, (await second).choices[0].text]).toEqual(["xyz", "yz"]);
});
