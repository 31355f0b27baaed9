// `bitnet train` over a mixture that a worker thread reads ahead, as a process that is really killed, and that Ctrl-C ends.
// Oracle: the same command, left alone.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { prepareTokens } from "../src/corpus/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { createDocumentEncoder, saveTokenizer, trainCharacters } from "../src/tokenizer/index.ts";
import { readScalars } from "../src/train/scalars.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-mixture-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const main = resolve(import.meta.dirname, "../src/cli/main.ts");
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

function start(run: string, ...more: string[]) {
  const sizes = { vocabSize: 7, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 };
  const child = spawn(
    process.execPath,
    [
      ...["--import", "tsx", main, "train", "tiny", "--data", mixture, "--tokenizer", tokenizerFile, "--run-dir", run],
      ...["--tokenizer.kind=characters", "--backend", "reference", "--steps", "30", "--train.batch=4"],
      ...["--train.sequence=16", "--evaluation.every=10", "--evaluation.batches=1", "--checkpoints.every=5"],
      ...Object.entries(sizes).map(([key, value]) => `--model.${key}=${value}`),
      ...["--samples.every=null", ...more],
    ],
    { cwd: resolve(import.meta.dirname, ".."), stdio: ["ignore", "pipe", "pipe"] },
  );
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => said.push(data.toString()));
  return { process: child as ChildProcess, said, ended: new Promise<number | null>((done) => child.on("close", done)) };
}

const scalars = (run: string) => join(run, "metrics", "scalars.jsonl");
const linesOf = (run: string) => (existsSync(scalars(run)) ? readFileSync(scalars(run), "utf8").split("\n").length : 0);
const losses = (run: string) =>
  readScalars(scalars(run)).map(({ step, loss, val_loss, sources }) => ({ step, loss, val_loss, sources }));

test("a mixture read ahead, killed once and once ended by Ctrl-C, comes to the same losses", {
  timeout: 240_000,
}, async () => {
  const left = join(folder, "left-alone");
  const whole = start(left);
  expect(await whole.ended, whole.said.join("")).toBe(0);
  expect(whole.said.join("")).toMatch(/^source: web, 70.0 % of the tokens/m);

  const run = join(folder, "killed");
  const moments = [
    [14, "SIGKILL"],
    [22, process.platform === "win32" ? "SIGKILL" : "SIGINT"],
  ] as const;
  const ends: (number | null)[] = [];
  for (const [lines, signal] of moments) {
    const { process: child, ended } = start(run, "--resume", "auto");
    while (linesOf(run) < lines && child.exitCode === null) await new Promise((next) => setTimeout(next, 1));
    child.kill(signal);
    ends.push(await ended);
  }
  // A process that was done before its signal came would end with 0.
  expect(ends.filter((code) => code !== 0).length).toBeGreaterThanOrEqual(1);
  const last = start(run, "--resume", "auto");
  expect(await last.ended, last.said.join("")).toBe(0);
  expect(losses(run)).toEqual(losses(left));
  const weights = (of: string) => readFileSync(join(of, "checkpoints", "step_000030", "model.safetensors"));
  expect(weights(run).equals(weights(left))).toBe(true);
});
