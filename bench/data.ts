/**
 * A whole preparation, as tier2 is one: compressed JSON lines are read, filtered (Unicode, language, Gopher's rules),
 * deduplicated, encoded with a BPE trained on them, fitted into sequences, written as shards. Time, throughput and processor
 * time of each stage, and peak memory, with one worker thread and with two; first it is checked that both give the same
 * bytes. `npm run bench -- data`.
 *
 *   --text a.txt.gz              texts that the corpus is made of; again for several (default: the package's own pages)
 *   --megabytes 120              of it, in 10^6 bytes of UTF-8
 *   --vocabulary 32000           of the BPE (default 2048)
 *   --threads 1,2                runs
 *   --folder PATH                where corpus and results lie meanwhile
 *   --phase NAME                 generate, run or write alone, over the same --folder: only `run` is timed, and it alone
 *                                needs a machine that does nothing else
 *   --quick                      2 MB: a trial, whose times mean nothing
 *
 * The corpus: the texts over and over, in each pass after the first with every sixth word another one, so that passes are no
 * duplicates of one another (similarity 0.2 and less); of twenty documents one is a copy of an earlier one, and one such a
 * copy with one word changed.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { tokenizerOfText } from "../src/cli/data/support/prepare-tokenizer.ts";
import { createFilters, prepareShards, readDocuments } from "../src/corpus/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { provenance, writeResult } from "./machine.ts";

export interface DataRun {
  threads: number;
  wallMs: number;
  processorMs: number;
  peakBytes: number;
  /** `peakBytes` is the process's peak up to the end of the stage. */
  stages: { stage: string; wallMs: number; processorMs: number; peakBytes: number }[];
  documents: { read: number; filtered: number; duplicates: number; train: number; valid: number };
  /** UTF-8 bytes of the text in the shards, and tokens. */
  keptBytes: number;
  tokens: number;
  shards: number;
}

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    text: { type: "string", multiple: true },
    megabytes: { type: "string" },
    vocabulary: { type: "string", default: "2048" },
    threads: { type: "string", default: "1,2" },
    folder: { type: "string" },
    phase: { type: "string" },
    child: { type: "string" },
  },
});
const { quick, phase } = options;
const bytesWanted = 1e6 * Number(options.megabytes ?? (quick ? 2 : 120));
const vocabSize = Number(options.vocabulary);
const filters = ["unicode", { language: { threshold: 0.5 } }, "gopher-quality", "gopher-repetition"];
const sequence = 2048;
const files = 8;
const fileName = (folder: string, k: number) => join(folder, `part-${k}.jsonl.gz`);

interface Corpus {
  documents: number;
  bytes: number;
  fileBytes: number;
}

async function textsOf(paths: string[] | undefined): Promise<string[]> {
  const texts: string[] = [];
  const pages = resolve(import.meta.dirname, "../docs");
  if (paths) for await (const text of readDocuments(paths)) texts.push(text);
  else
    for (const name of readdirSync(pages).filter((name) => name.endsWith(".md")))
      texts.push(...readFileSync(join(pages, name), "utf8").split(/\n(?=## )/));
  return texts;
}

/** Pieces of a text, words at odd places. */
const wordsOf = (text: string) => text.split(/([\p{L}]+)/u);

async function generate(folder: string): Promise<void> {
  const marker = join(folder, "corpus.json");
  if (existsSync(marker)) return;
  mkdirSync(folder, { recursive: true });
  const texts = await textsOf(options.text);
  const random = createRandom(1);
  const words = texts.flatMap((text) => wordsOf(text).filter((_, i) => i % 2 === 1));
  const changed = (text: string, share: number) =>
    wordsOf(text)
      .map((piece, i) => (i % 2 === 1 && random.uniform() < share ? words[random.integer(words.length)] : piece))
      .join("");
  const parts: string[][] = Array.from({ length: files }, () => []);
  const earlier: string[] = [];
  const corpus: Corpus = { documents: 0, bytes: 0, fileBytes: 0 };
  for (let i = 0; corpus.bytes < bytesWanted; i++) {
    const place = i % 20;
    const base = texts[i % texts.length];
    let text = i < texts.length ? base : changed(base, 1 / 6);
    if (earlier.length > 0 && place === 7) text = earlier[random.integer(earlier.length)];
    if (earlier.length > 0 && place === 13) {
      const pieces = wordsOf(earlier[random.integer(earlier.length)]);
      const at = 2 * random.integer(pieces.length >> 1) + 1;
      if (at < pieces.length) pieces[at] = "otherwise";
      text = pieces.join("");
    }
    if (earlier.length < 20_000) earlier.push(text);
    corpus.documents++;
    corpus.bytes += Buffer.byteLength(text);
    parts[i % files].push(`${JSON.stringify({ text })}\n`);
  }
  for (const [k, lines] of parts.entries()) {
    const packed = gzipSync(lines.join(""), { level: 6 });
    corpus.fileBytes += packed.length;
    writeFileSync(fileName(folder, k), packed);
  }
  writeFileSync(`${marker}.tmp`, JSON.stringify(corpus));
  renameSync(`${marker}.tmp`, marker);
}

/** In a process of its own, so that the peak is this run's alone. */
async function child(folder: string, threads: number): Promise<void> {
  const stages: DataRun["stages"] = [];
  const processor = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const peak = () => process.resourceUsage().maxRSS * 1024;
  const [started, usedBefore] = [performance.now(), processor()];
  let [stage, since, used] = ["hash", started, usedBefore];
  const enter = (next: string) => {
    if (next === stage) return;
    const [now, nowUsed] = [performance.now(), processor()];
    stages.push({ stage, wallMs: now - since, processorMs: nowUsed - used, peakBytes: peak() });
    [stage, since, used] = [next, now, nowUsed];
  };
  const { manifest } = await prepareShards({
    inputs: [{ name: "corpus", paths: [folder], split: "both" }],
    stages: await createFilters(filters, "bench", "."),
    dedup: { near: true },
    tokenizer: tokenizerOfText({ train: "bpe", vocabSize, sampleBytes: 16_000_000 }, { threads }),
    packing: { kind: "best-fit", sequence },
    shuffle: 1,
    shardTokens: 10_000_000,
    validFraction: 0.01,
    outDir: join(folder, `out-${threads}`),
    threads,
    onProgress: ({ stage }) => enter(stage),
  });
  enter("");
  const { splits, counts } = manifest!;
  const all = [splits.train, ...(splits.valid ? [splits.valid] : [])];
  const sum = (record: Record<string, number>) => Object.values(record).reduce((a, b) => a + b, 0);
  const result: DataRun = {
    threads,
    wallMs: performance.now() - started,
    processorMs: processor() - usedBefore,
    peakBytes: peak(),
    stages,
    documents: {
      read: counts!.read,
      filtered: sum(counts!.filtered),
      duplicates: sum(counts!.duplicates),
      train: counts!.train,
      valid: counts!.valid,
    },
    keptBytes: all.reduce((bytes, { textBytes }) => bytes + textBytes, 0),
    tokens: all.reduce((tokens, split) => tokens + split.tokens, 0),
    shards: splits.train.shards.length,
  };
  console.log(JSON.stringify(result));
}

function run(folder: string, threads: number): DataRun {
  for (const name of [`out-${threads}`, `out-${threads}.work`])
    rmSync(join(folder, name), { recursive: true, force: true });
  const args = ["--import", "tsx", import.meta.filename, "--child", folder, "--threads", String(threads)];
  const more = ["--vocabulary", String(vocabSize)];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...args, ...more], { encoding: "utf8" });
  if (status !== 0) throw new Error(`data in ${folder}: ${stderr.trim()}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as DataRun;
}

function tell({ threads, wallMs, peakBytes, stages }: DataRun, { bytes, documents }: Corpus): void {
  const rate = (ms: number) =>
    `${(bytes / 1e3 / ms).toFixed(1)} MB/s, ${Math.round((1000 * documents) / ms)} documents/s`;
  console.log(
    `${threads} threads: ${(wallMs / 1000).toFixed(1)} s, ${rate(wallMs)}, peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB`,
  );
  for (const { stage, wallMs, processorMs, peakBytes } of stages)
    console.log(
      `  ${stage.padEnd(12)} ${(wallMs / 1000).toFixed(2).padStart(7)} s, processors ${(processorMs / 1000).toFixed(2).padStart(7)} s, ${rate(wallMs)}, peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB`,
    );
}

/** SHA-256 of every file of a result, by name. */
const hashesOf = (folder: string) =>
  readdirSync(folder)
    .sort()
    .map(
      (name) =>
        `${name} ${createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex")}`,
    );

interface Ran extends DataRun {
  provenance: ReturnType<typeof provenance>;
}
const runFile = (folder: string, threads: number) => join(folder, `run-${threads}.json`);

async function all(folder: string): Promise<void> {
  const wants = (name: string) => phase === undefined || phase === name;
  const wanted = options.threads.split(",").map(Number);
  if (wants("generate")) await generate(folder);
  const corpus = JSON.parse(readFileSync(join(folder, "corpus.json"), "utf8")) as Corpus;
  if (wants("run")) {
    const texts = (options.text ?? []).map((path) => `--text ${path}`);
    const settings = [`--megabytes ${bytesWanted / 1e6}`, `--vocabulary ${vocabSize}`];
    for (const threads of wanted) {
      const where = provenance(["npm run bench -- data", ...texts, ...settings].join(" "));
      const result = run(folder, threads);
      writeFileSync(runFile(folder, threads), JSON.stringify({ provenance: where, ...result }));
      tell(result, corpus);
    }
  }
  if (!wants("write")) return;
  const runs = wanted.map((threads) => JSON.parse(readFileSync(runFile(folder, threads), "utf8")) as Ran);
  const [first, ...others] = wanted.map((threads) => hashesOf(join(folder, `out-${threads}`)).join("\n"));
  if (others.some((hashes) => hashes !== first)) throw new Error("the runs gave different bytes");
  const texts = options.text?.map((path) => path.split("/").at(-1)) ?? ["the package's pages"];
  const plain = runs.map(({ provenance: _, ...result }) => result);
  writeResult("data", { ...runs[0].provenance, texts, corpus, filters, vocabSize, sequence, runs: plain }, quick);
}

if (options.child) await child(options.child, Number(options.threads));
else {
  const base = options.folder ?? mkdtempSync(join(tmpdir(), "bitnet-bench-data-"));
  try {
    await all(base);
  } finally {
    if (options.folder === undefined) rmSync(base, { recursive: true, force: true });
  }
}
