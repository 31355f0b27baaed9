// `bitnet train` over a mixture that a worker thread reads ahead, as a process that is really killed, and that Ctrl-C ends.
// Oracle: the same command, left alone.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { prepareTokens } from "../src/corpus/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { createDocumentEncoder, saveTokenizer, trainCharacters } from "../src/tokenizer/index.ts";
import { readScalars } from "../src/train/scalars.ts";
import { type Moment, startBitnet } from "./support/signalled.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-mixture-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const mixture = join(folder, "mixture.yaml");
const tokenizerFile = join(folder, "tokenizer.json");

beforeAll(async () => {
  const { tokenizer } = await trainCharacters(["abcdef"]);
  saveTokenizer(tokenizer, tokenizerFile);
  const encoder = createDocumentEncoder(tokenizer, { threads: 0 });
  for (const [name, letters] of [
    ["web", "abc"],
    ["books", "def"],
  ]) {
    const text = join(folder, `${name}.txt`);
    const random = createRandom(letters.length);
    const document = () => Array.from({ length: 20 }, () => letters[random.integer(3)]).join("");
    writeFileSync(text, Array.from({ length: 60 }, document).join("<|endoftext|>"));
    await prepareTokens({ sources: [text], tokenizer: encoder, outDir: join(folder, name), validFraction: 0.2 });
  }
  writeFileSync(
    mixture,
    "sources:\n  - { name: web, weight: 0.7, path: web }\n  - { name: books, weight: 0.3, path: books }\n",
  );
});

function start(run: string, moment: Moment | undefined, ...more: string[]) {
  const sizes = { vocabSize: 7, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 };
  return startBitnet(
    [
      ...["train", "tiny", "--data", mixture, "--tokenizer", tokenizerFile, "--run-dir", run],
      ...["--tokenizer.kind=characters", "--backend", "reference", "--steps", "30", "--train.batch=4"],
      ...["--train.sequence=16", "--evaluation.every=10", "--evaluation.batches=1", "--checkpoints.every=5"],
      ...Object.entries(sizes).map(([key, value]) => `--model.${key}=${value}`),
      ...["--samples.every=null", ...more],
    ],
    moment,
  );
}

const scalars = (run: string) => join(run, "metrics", "scalars.jsonl");
const losses = (run: string) =>
  readScalars(scalars(run)).map(({ step, loss, val_loss, sources }) => ({ step, loss, val_loss, sources }));

test("a mixture read ahead, killed once and once ended by Ctrl-C, comes to the same losses", async () => {
  const left = join(folder, "left-alone");
  const whole = start(left, undefined);
  expect(await whole.ended, whole.said.join("")).toBe(0);
  expect(whole.said.join("")).toMatch(/^source: web, 70.0 % of the tokens/m);

  const run = join(folder, "killed");
  const line = { call: "writeSync", path: "scalars.jsonl" } as const;
  // Windows has no SIGINT to send: there it would be a kill.
  const interrupt = process.platform === "win32" ? "SIGKILL" : "SIGINT";
  for (const [moment, end] of [
    [{ ...line, count: 14 }, "SIGKILL"],
    [{ ...line, count: 8, signal: interrupt }, interrupt === "SIGINT" ? 130 : "SIGKILL"],
  ] as const) {
    const { said, ended } = start(run, moment, "--resume", "auto");
    expect(await ended, said.join("")).toBe(end);
  }
  const last = start(run, undefined, "--resume", "auto");
  expect(await last.ended, last.said.join("")).toBe(0);
  expect(losses(run)).toEqual(losses(left));
  const weights = (of: string) => readFileSync(join(of, "checkpoints", "step_000030", "model.safetensors"));
  expect(weights(run).equals(weights(left))).toBe(true);
});
