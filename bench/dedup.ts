/**
 * Deduplication of generated documents with planted exact and near duplicates, from 125,000 to a million: recall and
 * precision at 0.8 against exact Jaccard similarity of sets of strings, peak memory, throughput, time and processor time of
 * each stage, and how each doubling of the input changes them. `npm run bench -- dedup`.
 *
 *   --documents 1000000   the largest size; halved three times
 *   --halvings 3          or so many times
 *   --threads 2           worker threads
 *   --memory 1GB          DuckDB's bound
 *   --folder PATH         where corpora and results lie meanwhile (some 4 GB for a million documents)
 *   --quick               2,000 documents and halves: a trial, whose times mean nothing
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type DedupStage, deduplicate, fileSources, readDropped } from "../src/data/dedup/index.ts";
import { plantedCorpus, scoreDeduplication } from "../test/support/planted-duplicates.ts";
import { provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    documents: { type: "string" },
    halvings: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    memory: { type: "string", default: "1GB" },
    folder: { type: "string" },
    child: { type: "string" },
  },
});
const { quick, threads, memory } = options;
const largest = Number(options.documents ?? (quick ? 2000 : 1_000_000));
const files = 4;

interface ChildResult {
  wallMs: number;
  peakBytes: number;
  stages: { stage: string; wallMs: number; processorMs: number }[];
  near: unknown;
  dropped: Record<string, number>;
  kept: number;
}

const fileName = (folder: string, k: number) => join(folder, `part-${k}.jsonl`);

/** In a process of its own, so that the peak is this run's alone. */
async function child(folder: string): Promise<void> {
  const stages: ChildResult["stages"] = [];
  let stage: DedupStage | "reading and hashing files" = "reading and hashing files";
  const processor = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const started = performance.now();
  let [since, used] = [started, processor()];
  const enter = (next: typeof stage) => {
    if (next === stage) return;
    const [now, nowUsed] = [performance.now(), processor()];
    stages.push({ stage, wallMs: now - since, processorMs: nowUsed - used });
    [stage, since, used] = [next, now, nowUsed];
  };
  const sources = await fileSources(Array.from({ length: files }, (_, k) => fileName(folder, k)));
  const { report } = await deduplicate({
    sources,
    outDir: join(folder, "out"),
    threads: Number(threads),
    memory,
    onProgress: (progress) => enter(progress.stage),
  });
  stages.push({ stage, wallMs: performance.now() - since, processorMs: processor() - used });
  const result: ChildResult = {
    wallMs: performance.now() - started,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    stages,
    near: report!.near,
    dropped: report!.dropped,
    kept: report!.kept,
  };
  console.log(JSON.stringify(result));
}

function writeCorpus(folder: string, documents: number): number {
  const corpus = plantedCorpus(documents, 1);
  const perFile = Math.ceil(documents / files);
  let bytes = 0;
  for (let k = 0; k < files; k++) {
    const fd = openSync(fileName(folder, k), "w");
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
    bytes += statSync(fileName(folder, k)).size;
  }
  return bytes;
}

async function measure(base: string, documents: number) {
  const folder = join(base, String(documents));
  mkdirSync(folder);
  const bytes = writeCorpus(folder, documents);
  const args = ["--import", "tsx", import.meta.filename, "--child", folder, "--threads", threads, "--memory", memory];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 1 << 24 });
  if (status !== 0) throw new Error(`dedup of ${documents} documents: ${stderr.trim()}`);
  const result = JSON.parse(stdout.trim().split("\n").at(-1)!) as ChildResult;
  const perFile = Math.ceil(documents / files);
  const kept = new Map<number, number>();
  for (let k = 0; k < files; k++)
    for await (const one of readDropped(join(folder, "out"), fileName(folder, k))) {
      const from = Number(/part-(\d+)/.exec(one.kept!.source)![1]);
      kept.set(k * perFile + one.document - 1, from * perFile + one.kept!.document - 1);
    }
  const score = scoreDeduplication(plantedCorpus(documents, 1), kept, 0.8);
  rmSync(folder, { recursive: true });
  return { documents, bytes, ...result, score };
}

if (options.child) await child(options.child);
else {
  const base = mkdtempSync(join(options.folder ?? tmpdir(), "bitnet-bench-dedup-"));
  const rows: Awaited<ReturnType<typeof measure>>[] = [];
  try {
    for (let halving = Number(options.halvings); halving >= 0; halving--) {
      const documents = Math.floor(largest / 2 ** halving);
      const row = await measure(base, documents);
      rows.push(row);
      const { score, wallMs, peakBytes, bytes, stages } = row;
      // The answer first: a time of a wrong answer is none.
      if (score.recall < 0.98 || score.precision < 0.99)
        throw new Error(`${documents} documents: recall ${score.recall}, precision ${score.precision}`);
      const before = rows.at(-2);
      console.log(
        `${documents} documents, ${(bytes / 2 ** 20).toFixed(0)} MiB: ${(wallMs / 1000).toFixed(1)} s` +
          `${before ? ` (x${(wallMs / before.wallMs).toFixed(2)})` : ""}, ${Math.round((documents * 1000) / wallMs)} documents/s, ` +
          `${(bytes / 2 ** 20 / (wallMs / 1000)).toFixed(1)} MiB/s, peak ${(peakBytes / 2 ** 30).toFixed(2)} GiB, ` +
          `recall ${(100 * score.recall).toFixed(2)} % of ${score.pairs} pairs, precision ${(100 * score.precision).toFixed(2)} % of ${score.dropped} dropped`,
      );
      for (const { stage, wallMs, processorMs } of stages)
        console.log(
          `  ${stage.padEnd(26)} ${(wallMs / 1000).toFixed(2).padStart(8)} s, processors ${(processorMs / 1000).toFixed(2).padStart(8)} s`,
        );
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
  const command = `npm run bench -- dedup${options.documents ? ` --documents ${largest}` : ""}`;
  writeResult("dedup", { ...provenance(command), threads: Number(threads), memory, rows }, quick);
}
