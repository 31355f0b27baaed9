// `bitnet serve` as a process over a checkpoint with random weights, its engine on a thread of its own. Oracle: the library
// called here with the same settings, which has tests of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { saveCheckpoint } from "../../src/checkpoint/index.ts";
import { generateText, packModel } from "../../src/infer/index.ts";
import { presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { type Tokenizer, trainBpe } from "../../src/tokenizer/index.ts";
import { createAdamW } from "../../src/train/index.ts";
import { bitnet } from "../support/cli.ts";
import { eventsOf, jsonOf } from "../support/serving.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-serve-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);
const text = "the cat sat on the mat and the dog ran to the cat, then the cat ran to the mat. ".repeat(4);
let tokenizer: Tokenizer;
let expected: string;

beforeAll(async () => {
  const specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
  ({ tokenizer } = await trainBpe([text], { vocabSize: 280, specialTokens }));
  const runtime = new Runtime(createReferenceBackend());
  const config = { ...presets.tiny, vocabSize: tokenizer.vocabSize, width: 16, layers: 1, heads: 2, kvHeads: 1 };
  const model = new Transformer(runtime, { ...config, hiddenWidth: 24, contextLength: 256, initStd: 0.4 }, 4);
  const optimizer = createAdamW(runtime, model.parameters);
  await saveCheckpoint(at("model"), { model, optimizer, tokenizer, step: 7, training: null });
  const engine = await packModel(model);
  const options = { maxTokens: 20, temperature: 0, stopTokens: [], startToken: tokenizer.endOfText };
  expected = (await generateText(engine, tokenizer, "the cat", options)).text;
});

interface Served {
  url: string;
  child: ChildProcess;
  stderr(): string;
  ended: Promise<number | null>;
}

async function serve(...args: string[]): Promise<Served> {
  const program = resolve(import.meta.dirname, "../../dist/cli/main.js");
  const all = [program, "serve", "-m", at("model"), "--backend", "reference", "--port", "0", ...args];
  const child = spawn(process.execPath, all, { env: { ...process.env, BITNET_API_KEY: "" } });
  onTestFinished(() => void child.kill("SIGKILL"));
  let stderr = "";
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  const ended = new Promise<number | null>((done) => child.on("close", done));
  const line = await new Promise<string>((done) => {
    let stdout = "";
    child.stdout.on("data", (data) => {
      stdout += data;
      if (stdout.includes("\n")) done(stdout);
    });
    void ended.then(() => done(stdout));
  });
  const url = /^serving model at (http:\/\/127\.0\.0\.1:\d+) \(packed engine, reference .*completions alone/.exec(
    line,
  )?.[1];
  if (!url) throw new Error(`no address in ${JSON.stringify(line)}: ${stderr}`);
  return { url, child, stderr: () => stderr, ended };
}

const post = (url: string, body: object, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

describe("bitnet serve", () => {
  const body = { prompt: "the cat", max_tokens: 20, temperature: 0, ignore_eos: true };

  test("answers as the library does, whole and streamed, logs a JSON line for each request, and ends at SIGTERM", async () => {
    const { url, child, stderr, ended } = await serve();
    const whole = await jsonOf(post(`${url}/v1/completions`, body));
    expect(whole.choices[0].text).toBe(expected);
    const stream = await post(`${url}/v1/completions`, { ...body, stream: true });
    // Amid this stream the server is told to end: it is finished first.
    child.kill("SIGTERM");
    const { events, done } = eventsOf(await stream.text());
    expect(events.map(({ choices }) => choices[0].text).join("")).toBe(expected);
    expect(done).toBe(true);
    expect(await ended).toBe(0);
    const lines = stderr()
      .trimEnd()
      .split("\n")
      .filter((line) => line.startsWith("{"));
    const logged = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "request");
    expect(logged).toHaveLength(2);
    expect(logged[0]).toMatchObject({ method: "POST", path: "/v1/completions", status: 200, ms: expect.any(Number) });
  });

  test("takes keys from a file, a template by name, another name; embeds", async () => {
    writeFileSync(at("keys"), "one\ntwo\n");
    const { url } = await serveNamed();
    expect((await fetch(`${url}/v1/models`)).status).toBe(401);
    const key = { authorization: "Bearer two" };
    const model = (await jsonOf(fetch(`${url}/v1/models`, { headers: key }))).data[0];
    expect(model).toMatchObject({ id: "cat", meta: { chat: true, context_length: 256, embeddings: true } });
    const chat = await post(
      `${url}/v1/chat/completions`,
      { model: "cat", messages: [{ role: "user", content: "the" }], max_tokens: 3 },
      key,
    );
    expect((await jsonOf(chat)).usage.completion_tokens).toBeLessThanOrEqual(3);
    const found = await jsonOf(post(`${url}/v1/embeddings`, { input: ["the cat", "the dog"] }, key));
    for (const { embedding } of found.data) expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
  });

  const serveNamed = async () => {
    const program = resolve(import.meta.dirname, "../../dist/cli/main.js");
    const args = ["serve", "-m", at("model"), "--backend", "reference", "--port", "0", "--log", "off"];
    const more = ["--api-key-file", at("keys"), "--chat-template", "chatml", "-a", "cat"];
    const child = spawn(process.execPath, [program, ...args, ...more]);
    onTestFinished(() => void child.kill("SIGKILL"));
    const line = await new Promise<string>((done) => child.stdout.once("data", (data) => done(String(data))));
    return { url: /^serving cat at (\S+) /.exec(line)![1] };
  };

  test("says in one line what is wrong: no model, a port that is taken, a key file without a key, limits", async () => {
    const { url } = await serve();
    writeFileSync(at("empty"), "\n");
    const run = (...args: string[]) => bitnet(["serve", ...args]);
    const model = ["-m", at("model"), "--backend", "reference"];
    const [missing, taken, empty, slots] = await Promise.all([
      run("-m", at("nowhere")),
      run(...model, "--port", new URL(url).port),
      run(...model, "--api-key-file", at("empty")),
      run(...model, "--parallel", "0"),
    ]);
    expect(missing.code).not.toBe(0);
    expect(missing.stderr).toMatch(/^bitnet: .*nowhere.*\n$/);
    expect(taken).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^bitnet: 127\.0\.0\.1:\d+ is taken .*--port.*\n$/),
    });
    expect(empty).toMatchObject({ code: 2, stderr: expect.stringMatching(/has no key/) });
    expect(slots).toMatchObject({ code: 2, stderr: expect.stringMatching(/whole number from 1/) });
  });
});
