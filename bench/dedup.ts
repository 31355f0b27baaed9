/**
 * Deduplication of generated documents with planted exact and near duplicates, from 125,000 to a million: recall and
 * precision at 0.8 against exact Jaccard similarity of sets of strings, peak memory, throughput, time and processor time of
 * each stage, and how each doubling of the input changes them. `npm run bench -- dedup`.
 *
 *   --documents 1000000   the largest size; halved three times
 *   --halvings 3          or so many times
 *   --threads 2           worker threads
 *   --memory 768MB        DuckDB's bound
 *   --folder PATH         where corpora and results lie meanwhile (some 5 GB for a million documents)
 *   --phase NAME          generate, run or score alone, over the same --folder: only `run` is timed, and it alone needs a
 *                         machine that does nothing else
 *   --quick               2,000 documents and halves: a trial, whose times mean nothing
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type DedupStage, deduplicate, fileSources, readDropped } from "../src/corpus/dedup/index.ts";
import { type DedupScore, plantedCorpus, scoreDeduplication } from "../test/support/planted-duplicates.ts";
import { provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    documents: { type: "string" },
    halvings: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    memory: { type: "string", default: "768MB" },
    folder: { type: "string" },
    phase: { type: "string" },
    child: { type: "string" },
  },
});
const { quick, threads, memory, phase } = options;
const largest = Number(options.documents ?? (quick ? 2000 : 1_000_000));
const sizes = Array.from({ length: Number(options.halvings) + 1 }, (_, halving) =>
  Math.floor(largest / 2 ** halving),
).reverse();
const files = 4;

interface RunResult {
  wallMs: number;
  peakBytes: number;
  /** `peakBytes` is the process's peak up to the end of the stage. */
  stages: { stage: string; wallMs: number; processorMs: number; peakBytes: number }[];
  near: unknown;
  dropped: Record<string, number>;
  kept: number;
}

const fileName = (folder: string, k: number) => join(folder, `part-${k}.jsonl`);

/** In a process of its own, so that the peak is this run's alone. */
async function child(folder: string): Promise<void> {
  const stages: RunResult["stages"] = [];
  let stage: DedupStage | "hashing files" = "hashing files";
  const processor = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const started = performance.now();
  const peak = () => process.resourceUsage().maxRSS * 1024;
  let [since, used] = [started, processor()];
  const end = () => {
    const [now, nowUsed] = [performance.now(), processor()];
    stages.push({ stage, wallMs: now - since, processorMs: nowUsed - used, peakBytes: peak() });
    [since, used] = [now, nowUsed];
  };
  const enter = (next: typeof stage) => {
    if (next === stage) return;
    end();
    stage = next;
  };
  const sources = await fileSources(Array.from({ length: files }, (_, k) => fileName(folder, k)));
  const { report } = await deduplicate({
    sources,
    outDir: join(folder, "out"),
    threads: Number(threads),
    memory,
    onProgress: (progress) => enter(progress.stage),
  });
  end();
  const result: RunResult = {
    wallMs: performance.now() - started,
    peakBytes: peak(),
    stages,
    near: report!.near,
    dropped: report!.dropped,
    kept: report!.kept,
  };
  console.log(JSON.stringify(result));
}

function generate(folder: string, documents: number): void {
  mkdirSync(folder, { recursive: true });
  const corpus = plantedCorpus(documents, 1);
  const perFile = Math.ceil(documents / files);
  for (let k = 0; k < files; k++) {
    if (existsSync(fileName(folder, k))) continue; // of a run that was ended
    const temporary = `${fileName(folder, k)}.tmp`;
    const fd = openSync(temporary, "w");
    let lines = "";
    for (let i = k * perFile; i < Math.min(documents, (k + 1) * perFile); i++) {
      lines += `${JSON.stringify({ text: corpus.at(i).text })}\n`;
      if (lines.length > 1 << 22) {
        writeSync(fd, lines);
        lines = "";
      }
    }
    writeSync(fd, lines);
    closeSync(fd);
    renameSync(temporary, fileName(folder, k));
  }
}

const runFile = (folder: string) => join(folder, "run.json");

function run(folder: string): void {
  rmSync(join(folder, "out"), { recursive: true, force: true });
  rmSync(join(folder, "out.work"), { recursive: true, force: true });
  rmSync(join(folder, "score.json"), { force: true });
  const args = ["--import", "tsx", import.meta.filename, "--child", folder, "--threads", threads, "--memory", memory];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 1 << 24 });
  if (status !== 0) throw new Error(`dedup in ${folder}: ${stderr.trim()}`);
  writeFileSync(runFile(folder), stdout.trim().split("\n").at(-1)!);
}

async function score(folder: string, documents: number) {
  if (!existsSync(runFile(folder))) throw new Error(`${folder}: has no run yet; --phase run comes before score`);
  const result = JSON.parse(readFileSync(runFile(folder), "utf8")) as RunResult;
  const perFile = Math.ceil(documents / files);
  const kept = new Map<number, number>();
  let bytes = 0;
  for (let k = 0; k < files; k++) {
    bytes += statSync(fileName(folder, k)).size;
    for await (const one of readDropped(join(folder, "out"), fileName(folder, k))) {
      const from = Number(/part-(\d+)/.exec(one.kept!.source)![1]);
      kept.set(k * perFile + one.document - 1, from * perFile + one.kept!.document - 1);
    }
  }
  const before = join(folder, "score.json"); // of a scoring that was ended at a larger size
  const score: DedupScore = existsSync(before)
    ? JSON.parse(readFileSync(before, "utf8"))
    : scoreDeduplication(plantedCorpus(documents, 1), kept, 0.8);
  writeFileSync(before, JSON.stringify(score));
  return { documents, bytes, ...result, score };
}

type Measured = Awaited<ReturnType<typeof score>>;

function tell({ documents, bytes, score, wallMs, peakBytes, stages }: Measured, before?: Measured): void {
  console.log(
    `${documents} documents, ${(bytes / 2 ** 20).toFixed(0)} MiB: ${(wallMs / 1000).toFixed(1)} s` +
      `${before ? ` (x${(wallMs / before.wallMs).toFixed(2)})` : ""}, ${Math.round((documents * 1000) / wallMs)} documents/s, ` +
      `${(bytes / 2 ** 20 / (wallMs / 1000)).toFixed(1)} MiB/s, peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB, ` +
      `recall ${(100 * score.recall).toFixed(2)} % of ${score.pairs} pairs, precision ${(100 * score.precision).toFixed(2)} % of ${score.dropped} dropped`,
  );
  for (const { stage, wallMs, processorMs, peakBytes } of stages)
    console.log(
      `  ${stage.padEnd(14)} ${(wallMs / 1000).toFixed(2).padStart(8)} s, processors ${(processorMs / 1000).toFixed(2).padStart(8)} s, peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB`,
    );
}

async function all(base: string): Promise<void> {
  const wants = (name: string) => phase === undefined || phase === name;
  const folder = (documents: number) => join(base, String(documents));
  const whence = join(base, "provenance.json");
  if (wants("generate")) for (const documents of sizes) generate(folder(documents), documents);
  if (wants("run")) {
    writeFileSync(whence, JSON.stringify(provenance(`npm run bench -- dedup`)));
    for (const documents of sizes) {
      run(folder(documents));
      console.log(`${documents} documents: run`);
    }
  }
  if (!wants("score")) return;
  const rows: Measured[] = [];
  for (const documents of sizes) {
    const row = await score(folder(documents), documents);
    tell(row, rows.at(-1));
    rows.push(row);
    if (row.score.recall < 0.98 || row.score.precision < 0.99)
      throw new Error(`${documents} documents: recall ${row.score.recall}, precision ${row.score.precision}`);
  }
  const where = JSON.parse(readFileSync(whence, "utf8")) as ReturnType<typeof provenance>;
  writeResult("dedup", { ...where, threads: Number(threads), memory, rows }, quick);
}

if (options.child) await child(options.child);
else if (phase !== undefined) {
  if (!["generate", "run", "score"].includes(phase) || options.folder === undefined) {
    console.error("dedup: --phase is generate, run or score, and wants --folder PATH");
    process.exit(2);
  }
  mkdirSync(options.folder, { recursive: true });
  await all(options.folder);
} else {
  const base = mkdtempSync(join(options.folder ?? tmpdir(), "bitnet-bench-dedup-"));
  try {
    await all(base);
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}
