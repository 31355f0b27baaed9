// Oracle: the texts written here; a run that was never stopped; a run that reads in its own thread; weights by hand.
import { createServer } from "node:http";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { steppingClock } from "../../test/support/small-run.ts";
import { prepareTokens } from "../corpus/index.ts";
import { type MixtureSpec, openSplit, readManifest, writeScores } from "../data/index.ts";
import { DataError, FileError, FormatError, UsageError } from "../platform/errors.ts";
import { createRandom } from "../platform/random.ts";
import { createDocumentEncoder, saveTokenizer, type Tokenizer, trainCharacters } from "../tokenizer/index.ts";
import { resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { checkDataFiles, prepareTrainingData } from "./corpus.ts";
import type { Callback } from "./events.ts";
import { readScalars } from "./scalars.ts";
import { type TrainOptions, train } from "./train.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-mixed-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let names = 0;
const fresh = () => join(root, `run${++names}`);

/** Documents of a few letters only, so that tokens tell their source. */
function text(letters: string, documents: number): string[] {
  const random = createRandom(documents);
  const letter = () => letters[random.integer(letters.length)];
  return Array.from({ length: documents }, () => Array.from({ length: 20 }, letter).join(""));
}
const write = (name: string, documents: string[]) => {
  const path = join(root, name);
  writeFileSync(path, documents.join("<|endoftext|>"));
  return path;
};
const files = {
  ab: write("ab.txt", text("ab", 120)),
  cd: write("cd.txt", text("cd", 60)),
  ef: write("ef.txt", text("ef", 3)),
};

let tokenizer: Tokenizer;
let tokenizerFile: string;
const prepared: Record<"ab" | "cd", string> = { ab: join(root, "ab"), cd: join(root, "cd") };
beforeAll(async () => {
  ({ tokenizer } = await trainCharacters(["abcdef"]));
  tokenizerFile = join(root, "tokenizer.json");
  saveTokenizer(tokenizer, tokenizerFile);
  const encoder = createDocumentEncoder(tokenizer, { threads: 0 });
  for (const name of ["ab", "cd"] as const)
    await prepareTokens({ sources: [files[name]], tokenizer: encoder, outDir: prepared[name], validFraction: 0.2 });
});

const mixture = (paths: Record<string, [number, string | string[]]>): MixtureSpec => ({
  sources: Object.entries(paths).map(([name, [weight, path]]) => ({ name, weight, path })),
});
const ofDatasets = () => mixture({ ab: [3, prepared.ab], cd: [1, prepared.cd] });
/** 7 letters and the end of text: whatever tokenizer is used has these. */
const small = (data: RunConfigPatch["data"]): RunConfigPatch => ({
  preset: "tiny",
  model: { vocabSize: 7, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
  data: { cacheDir: join(root, "cache"), prefetch: 0, ...data },
  tokenizer: { kind: "characters", file: tokenizerFile },
  train: { batch: 4, sequence: 16, microBatch: 2, steps: 12, seed: 4 },
  evaluation: { every: 4, batches: 2 },
  checkpoints: { every: 4, keepLast: 3 },
  samples: { every: null },
  backend: { name: "reference" },
});
const run = (data: RunConfigPatch["data"], options: Partial<TrainOptions> = {}, more: RunConfigPatch = {}) =>
  train({
    config: [
      { from: "test", patch: small(data) },
      { from: "test", patch: more },
    ],
    clock: steppingClock(),
    ...options,
  });
const prepare = (data: RunConfigPatch["data"], more: RunConfigPatch = {}) =>
  prepareTrainingData(
    resolveConfig([
      { from: "test", patch: small(data) },
      { from: "test", patch: more },
    ]),
  );
const curve = (folder: string) =>
  readScalars(join(folder, "metrics", "scalars.jsonl")).map(({ step, loss, val_loss, sources }) => ({
    step,
    loss,
    val_loss,
    sources,
  }));
class Killed extends Error {}
const killAt = (step: number): Callback => ({
  name: "killer",
  on(event) {
    if (event.type === "step" && event.step === step) throw new Killed();
  },
});

describe("training on a mixture", () => {
  /** Trained by the first test. */
  const whole = fresh();

  test("draws by weight, tells tokens and passes of each source, and validates on what each holds out", async () => {
    const folder = whole;
    const report = await run({ mixture: ofDatasets() }, { runFolder: folder });
    expect(report.sources).toMatchObject([
      { name: "ab", share: 0.75, drawnSequences: 36, drawnTokens: 576 },
      { name: "cd", share: 0.25, drawnSequences: 12, drawnTokens: 192 },
    ]);
    const lines = readScalars(join(folder, "metrics", "scalars.jsonl")).filter((line) => "loss" in line);
    expect(lines[1].sources).toMatchObject({ ab: { tokens: 96 }, cd: { tokens: 32 } });
    expect(lines[11].sources).toEqual(
      Object.fromEntries(
        report.sources!.map(({ name, drawnTokens, epochs }) => [
          name,
          { tokens: drawnTokens, epochs: Number(epochs.toFixed(6)) },
        ]),
      ),
    );
    expect(lines[0].data_wait_ms).toBe(10);
    const meta = JSON.parse(readFileSync(join(folder, "meta.json"), "utf8"));
    const tokens = (name: "ab" | "cd") => readManifest(prepared[name]).splits.train.tokens;
    expect(meta.data).toMatchObject({ tokens: tokens("ab") + tokens("cd"), validation: "sources" });
    // 2 batches of 4 windows of 16, three of four from ab's held-out text.
    expect(meta.data.validationTokens).toBe(128);
  });

  test.for([1, 5, 11])("killed at step %i goes on with the losses of a run that was not", async (at) => {
    const folder = fresh();
    await expect(run({ mixture: ofDatasets() }, { runFolder: folder, callbacks: [killAt(at)] })).rejects.toThrow(
      Killed,
    );
    await run({}, { runFolder: folder, resume: "auto" });
    expect(curve(folder)).toEqual(curve(whole));
  });

  test("read ahead by a worker has the same losses, killed or not", async () => {
    const ahead = fresh();
    await expect(
      run({ mixture: ofDatasets(), prefetch: 3 }, { runFolder: ahead, callbacks: [killAt(7)] }),
    ).rejects.toThrow(Killed);
    await run({ prefetch: "auto" }, { runFolder: ahead, resume: "auto" });
    expect(curve(ahead)).toEqual(curve(whole));
  });

  test("may go on with other text in its place only by beginning anew", async () => {
    const folder = fresh();
    await run({ mixture: ofDatasets() }, { runFolder: folder });
    const other = mixture({ ab: [1, prepared.ab], cd: [1, prepared.cd] });
    await expect(run({ mixture: other }, { resume: folder }, { train: { steps: 14 } })).rejects.toThrow(
      /saved data position: the share of its source "ab" was 3 parts, this run's is 1/,
    );
    await expect(run({ files: [files.ab] }, { resume: folder }, { train: { steps: 14 } })).rejects.toThrow(DataError);
  });

  test("follows a curriculum, which is part of the position", async () => {
    const split = openSplit(prepared.ab);
    const sequences = split.sequences(16);
    const scores = Float32Array.from({ length: sequences.count }, (_, i) => i);
    writeScores({ folder: prepared.ab, split: "train", sequence: 16, name: "number" }, sequences, scores);
    split.close();
    const [ab, cd] = ofDatasets().sources;
    const curriculum = { by: "number", pacing: "step", start: 0.02, tokens: 640 } as const;
    const spec = { sources: [ab, { ...cd, curriculum: false }], curriculum };
    const [paced, killed] = [fresh(), fresh()];
    await run({ mixture: spec }, { runFolder: paced });
    await expect(run({ mixture: spec }, { runFolder: killed, callbacks: [killAt(6)] })).rejects.toThrow(Killed);
    await run({}, { runFolder: killed, resume: "auto" });
    expect(curve(killed)).toEqual(curve(paced));
    const state = JSON.parse(readFileSync(join(paced, "checkpoints", "step_000012", "trainer_state.json"), "utf8"))
      .training.data;
    // 640 tokens are 40 draws, 30 of them from ab.
    expect(state.sources.map(({ drawn, paced }: { drawn: number; paced: number }) => [drawn, paced])).toEqual([
      [36, 30],
      [12, 0],
    ]);
    await expect(run({ mixture: { sources: [ab, cd], curriculum } }, { runFolder: fresh() })).rejects.toThrow(
      /cd: has no scores "number" for sequences of 16 tokens/,
    );
  });
});

describe("sources of text", () => {
  test("are encoded with one tokenizer, made of what none of them holds out", async () => {
    const spec = mixture({ ab: [1, files.ab], rest: [1, [files.cd, files.ef]] });
    const { tokenizer, feed, validation, about, close } = await prepare(
      { mixture: spec, validFraction: 0.2 },
      { tokenizer: { file: null } },
    );
    expect(tokenizer.vocabSize).toBe(7);
    expect(feed).toMatchObject({ kind: "mixture", sources: [{ name: "ab" }, { name: "rest" }] });
    expect(validation!.source).toBe("sources");
    // Every document is on one side: 183 of 20 letters and an end.
    expect(about.tokens + validation!.stream.tokenCount).toBe(183 * 21);
    expect(validation!.stream.tokenCount).toBeGreaterThan(0);
    close();
  });

  test("may be datasets that bring their tokenizer", async () => {
    const folder = join(root, "with-tokenizer");
    cpSync(prepared.ab, folder, { recursive: true });
    saveTokenizer(tokenizer, join(folder, "tokenizer.json"));
    const spec = mixture({ ab: [1, folder], cd: [1, prepared.cd], ef: [1, files.ef] });
    const data = await prepare({ mixture: spec }, { tokenizer: { file: null } });
    expect(data.tokenizer.hash).toBe(tokenizer.hash);
    data.close();
  });

  test("of few documents are trained on whole, and this is said", async () => {
    const notes: string[] = [];
    const config = resolveConfig([
      { from: "test", patch: small({ mixture: mixture({ ef: [1, files.ef] }), validFraction: 0.2 }) },
    ]);
    const data = await prepareTrainingData(config, { onNote: (note) => notes.push(note) });
    expect(data.validation).toBeNull();
    expect(data.about.tokens).toBe(63);
    expect(notes.join("\n")).toMatch(/source "ef": has too few documents to hold some out/);
    data.close();
  });
});

describe("--data", () => {
  test("takes globs, folders, and what is behind an address", async () => {
    const body = readFileSync(files.cd);
    const server = createServer((_, response) => {
      response.writeHead(200, { "content-length": body.length }).end(body);
    }).listen(0, "127.0.0.1");
    await new Promise((ready) => server.once("listening", ready));
    const { port } = server.address() as { port: number };
    process.env.BITNET_CACHE = join(root, "hub");
    try {
      const corpus = await prepare({
        files: [join(root, "a*.txt"), `http://127.0.0.1:${port}/cd.txt`],
        validFraction: 0,
      });
      expect(corpus.about.documents).toBe(180);
      corpus.close();
    } finally {
      delete process.env.BITNET_CACHE;
      server.close();
    }
    await expect(prepare({ files: ["http://127.0.0.1:9/x.txt"] })).rejects.toThrow(/cannot be reached .*--local-copy/);
    const copied = await prepare({ files: ["http://127.0.0.1:9/cd.txt"], localCopy: root, validFraction: 0 });
    expect(copied.about.documents).toBe(60);
    copied.close();
  });

  test("takes several prepared datasets one behind another, with all that they hold out", async () => {
    const data = await prepare({ files: [prepared.ab, prepared.cd] }, { evaluation: { batches: null } });
    const sum = (of: (name: "ab" | "cd") => number) => of("ab") + of("cd");
    expect(data.about.tokens).toBe(sum((name) => readManifest(prepared[name]).splits.train.tokens));
    expect(data.validation!.tokens).toBe(sum((name) => readManifest(prepared[name]).splits.valid!.tokens));
    data.close();
  });
});

describe("bad input", () => {
  const empty = join(root, "empty");
  mkdirSync(empty);
  const at = (path: string | string[], weight = 1) => ({
    mixture: mixture({ good: [1, files.ab], bad: [weight, path] }),
  });
  test.for<[string, RunConfigPatch["data"], new (m: string) => Error, RegExp]>([
    ["a source that is not there", at(join(root, "nowhere")), FileError, /source "bad": .*nowhere: .*no such file/],
    ["an empty folder", at(empty), DataError, /source "bad": .*empty: no file in this folder ends in/],
    [
      "a weight of 0",
      at(files.cd, 0),
      UsageError,
      /data.mixture: source "bad", weight is 0; expected a number above 0/,
    ],
    ["a weight that is none", at(files.cd, Number.NaN), UsageError, /source "bad", weight is NaN/],
    [
      "a dataset and text as one source",
      at([prepared.ab, files.cd]),
      UsageError,
      /source "bad": .*make a source of each/,
    ],
    [
      "files beside a mixture",
      { files: [files.ab], ...at(files.cd) },
      UsageError,
      /data.files names .*ab.txt and data.mixture has sources of its own/,
    ],
  ])("%s is refused before anything is done", ([, data, type, message]) => {
    const check = () => checkDataFiles(resolveConfig([{ from: "test", patch: small(data) }]));
    expect(check).toThrow(type);
    expect(check).toThrow(message);
  });

  test("validation files beside a mixture, and datasets without their tokenizer, are refused", async () => {
    await expect(prepare({ mixture: ofDatasets(), validFiles: [files.ef] })).rejects.toThrow(
      /a mixture validates on what its sources hold out/,
    );
    await expect(prepare({ mixture: ofDatasets() }, { tokenizer: { file: null } })).rejects.toThrow(
      /source "ab": .*ab is a prepared dataset; name the tokenizer/,
    );
  });

  test("a dataset of another tokenizer, or shorter than a sequence, is refused by source", async () => {
    const other = (await trainCharacters(["abcdeg"])).tokenizer;
    const path = join(root, "other.json");
    saveTokenizer(other, path);
    await expect(prepare({ mixture: ofDatasets() }, { tokenizer: { file: path } })).rejects.toThrow(
      /source "ab": .*ab: was encoded with another tokenizer/,
    );
    const short = mixture({ ab: [1, files.ab], ef: [1, files.ef] });
    await expect(
      prepare({ mixture: short }, { model: { contextLength: 64 }, train: { sequence: 64 } }),
    ).rejects.toThrow(/source "ef", .*: a sequence of 64 tokens needs 65 tokens of text, but the data have 63/);
  });

  test("a shard whose checksum is wrong is found where that is asked for, one that is missing always", async () => {
    const folder = join(root, "spoilt");
    const encoder = createDocumentEncoder(tokenizer, { threads: 0 });
    await prepareTokens({ sources: [files.cd], tokenizer: encoder, outDir: folder });
    const shard = join(folder, readdirSync(folder).find((name) => name.endsWith(".bin"))!);
    const bytes = readFileSync(shard);
    bytes[300] ^= 1;
    writeFileSync(shard, bytes);
    const spoilt = { mixture: mixture({ ab: [1, prepared.ab], bad: [1, folder] }) };
    await expect(prepare({ ...spoilt, verify: true })).rejects.toThrow(/source "bad": .*spoilt.*SHA-256/);
    await expect(prepare({ files: [folder], verify: true })).rejects.toThrow(FormatError);
    (await prepare(spoilt)).close();
    rmSync(shard);
    await expect(prepare(spoilt)).rejects.toThrow(FileError);
  });
});
