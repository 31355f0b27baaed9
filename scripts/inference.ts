/**
 * Writes docs/inference.md from bench/results/infer.json, infer-heads.json and infer-isas.json, which `npm run bench:infer`,
 * bench/infer-heads.ts and bench/infer-isas.ts make: no number there is typed in but the targets and other programs' published ones, which say so.
 * `npm run docs:results`; a test compares the page with what this makes.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Provenance } from "../bench/machine.ts";

const root = resolve(import.meta.dirname, "..");

export interface SpeedRow {
  shape: string;
  program: "bitnet.ts" | "node-llama-cpp";
  head: string | null;
  weights: string | null;
  threads: number;
  pp512: number;
  tg128: number;
  best: { pp512: number; tg128: number };
  /** Bytes that a token reads: of weights, and of keys and values of the positions so far, on average. */
  bytesForToken: number | null;
  cacheBytes: number;
  floors: { tg128: number | null; pp512: number | null };
}
export interface InferResult extends Provenance {
  options: { weights: string; cache: string; rounds: number };
  peaks: { threads: number; readGBs: number; int8Gops: number; floatGflops: number }[];
  loads: {
    shape: string;
    head: string;
    fileBytes: number;
    loadMs: number;
    weightBytes: number;
    cacheBytes: number;
    residentBefore: number;
    residentLoaded: number;
    peak: number;
    /** Absent in results from before files were mapped. */
    mappedBytes?: number;
  }[];
  agreements: { shape: string; fileBytes: number; onePiece: number; llama: Record<string, number> | null }[];
  results: SpeedRow[];
  leftOut: string[];
}
export interface HeadsResult extends Provenance {
  about: string;
  tokens: number;
  contextTokens: number;
  rows: { head: string; cache: string; perplexity: number; bytesForToken: number }[];
}
export interface IsasResult extends Provenance {
  shape: string;
  threads: number;
  rounds: number;
  head: string;
  cache: string;
  rows: { isa: string; weights: string; cosine: number; pp512: number; tg128: number }[];
}
export interface InferenceResults {
  infer: InferResult | null;
  heads: HeadsResult | null;
  /** Of the full-precision twin. */
  twinHeads: HeadsResult | null;
  isas: IsasResult | null;
}

export function readInference(folder: string): InferenceResults {
  const read = (name: string) => {
    const path = resolve(folder, `${name}.json`);
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
  };
  return {
    infer: read("infer"),
    heads: read("infer-heads"),
    twinHeads: read("infer-heads-full"),
    isas: read("infer-isas"),
  };
}

/** Tokens a second on two threads of a 2-core Zen 4 that were asked for, and the best that anyone has there. */
const wanted: Record<string, { tg128: number; pp512: number; others: { tg128: number; pp512: number } }> = {
  "100m": { tg128: 600, pp512: 2600, others: { tg128: 404, pp512: 1405 } },
  "700m": { tg128: 140, pp512: 440, others: { tg128: 98, pp512: 190 } },
  "2b4t": { tg128: 46, pp512: 140, others: { tg128: 31, pp512: 93 } },
};

const table = (head: string[], rows: (string | number)[][]) =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
const round = (value: number, digits = 0) => value.toFixed(digits);
const megabytes = (bytes: number) => round(bytes / 1e6);

export interface Target {
  name: string;
  must: string;
  is: string;
  reached: boolean;
}

/** What was asked for against what was measured; the best head type of ours counts, and is named. */
export function inferenceTargets({ peaks, loads, results }: InferResult): Target[] {
  const threads = Math.max(...peaks.map((peak) => peak.threads));
  const found: Target[] = [];
  for (const [shape, { tg128, pp512 }] of Object.entries(wanted)) {
    const own = results.filter((row) => row.shape === shape && row.program === "bitnet.ts" && row.threads === threads);
    if (own.length === 0) continue;
    const others = results.filter((row) => row.shape === shape && row.program === "node-llama-cpp");
    const fastest = own.reduce((a, b) => (b.tg128 > a.tg128 ? b : a));
    const reader = own.reduce((a, b) => (b.pp512 > a.pp512 ? b : a));
    const add = (name: string, must: string, is: string, reached: boolean) =>
      found.push({ name: `${shape}: ${name}`, must, is, reached });
    add(
      "written, tokens/s",
      `at least ${tg128}`,
      `${round(fastest.tg128)} (${fastest.weights} weights, ${fastest.head} head)`,
      fastest.tg128 >= tg128,
    );
    add("read, tokens/s", `at least ${pp512}`, round(reader.pp512), reader.pp512 >= pp512);
    if (others.length > 0) {
      const decode = fastest.tg128 / Math.max(...others.map((row) => row.tg128));
      const prompt = reader.pp512 / Math.max(...others.map((row) => row.pp512));
      add("written / node-llama-cpp's best", "at least 1.6", round(decode, 2), decode >= 1.6);
      add("read / node-llama-cpp's best", "at least 3", round(prompt, 2), prompt >= 3);
    }
    const near = Math.max(...own.map((row) => row.tg128 / (row.floors.tg128 as number)));
    add("written, of memory's floor", "at least 0.85", round(near, 2), near >= 0.85);
  }
  const load = loads.find((row) => row.shape === "700m");
  if (load)
    found.push({ name: "700m: opened, ms", must: "under 1000", is: round(load.loadMs), reached: load.loadMs < 1000 });
  for (const { shape, head, peak, residentBefore, fileBytes, cacheBytes } of loads) {
    const share = (peak - residentBefore) / (fileBytes + cacheBytes);
    found.push({
      name: `${shape}, ${head} head: peak memory above the process's own / file and cache`,
      must: "at most 1.1",
      is: round(share, 2),
      reached: share <= 1.1,
    });
  }
  return found;
}

function speeds(result: InferResult): string {
  const { options, peaks, results, agreements, leftOut } = result;
  const machine = peaks
    .map(
      (p) =>
        `${p.threads} ${p.threads === 1 ? "thread" : "threads"}: memory ${round(p.readGBs, 1)} GB/s, int8 ${round(p.int8Gops)} GOP/s, float32 ${round(p.floatGflops)} GFLOP/s`,
    )
    .join("; ");
  const share = (rate: number, floor: number | null) =>
    floor === null ? "" : `${round(floor)} (${round((100 * rate) / floor)} %)`;
  return `## Speed

Files of random weights in TQ2_0 with embeddings in Q6_K and a tied head, the same for both programs, in turns; ${options.rounds} rounds, median. Read: a prompt of 512
tokens; written: 128 likeliest tokens, one by one. Ours with a cache in ${options.cache}${options.weights === "auto" ? ", and with the form of weights that the engine chooses" : ""}. Allowed at most, measured in the same run (memory in each round, the median of all here, of a shape's rounds for its floors): ${machine}.
A floor is what reading the weights, and the keys and values of all tokens so far, once for each token (written), or the operations of the prompt at these rates (read), would take.

${table(
  ["shape", "program", "threads", "read, tokens/s", "floor", "written, tokens/s", "floor", "MB a token"],
  results.map((r) => [
    r.shape,
    r.program + (r.head ? `, ${r.weights} weights, ${r.head} head` : ""),
    r.threads,
    round(r.pp512),
    share(r.pp512, r.floors.pp512),
    round(r.tg128, 1),
    share(r.tg128, r.floors.tg128),
    r.bytesForToken === null ? "" : megabytes(r.bytesForToken + r.cacheBytes),
  ]),
)}

Checked before: logits of a prompt at once and token by token, and against llama.cpp's, whose activations are quantised in blocks of 256 (cosine): ${agreements
    .map((a) => `${a.shape} ${round(a.onePiece, 5)}, ${cosines(a.llama)}`)
    .join("; ")}.
${leftOut.map((reason) => `\nLeft out: ${reason}.\n`).join("")}
The best that others had on such a machine (two threads; read, written): ${Object.entries(wanted)
    .map(([shape, { others }]) => `${shape} ${others.pp512}, ${others.tg128}`)
    .join("; ")}.
`;
}

function cosines(llama: Record<string, number> | null): string {
  if (llama === null) return "not measured";
  return Object.entries(llama)
    .map(([head, value]) => `${head} head ${round(value, 5)}`)
    .join(", ");
}

const loading = ({ loads }: InferResult) => `## Opening, and memory

A process of its own opens the file, reads a prompt of 512 and writes 128 tokens; its tokenizer stays. Kernels make the engine's packing of rows as the file has them, where the
system has mapped it; no copy is made, and no floats. Of prompts 256 tokens pass at a time, of models whose weights come from memory 512. The share asked for is of the file and the cache; beside it that of
the weights as they are held, which a head in int8 makes larger than a file's in Q6_K. What comes on top of both is JavaScript's heap, the vocabulary's tables above all
(some 25 MB of 32,000 tokens, 55 of 128,000), the rows' workspace, and what kernels pack prompts' operands into.

${table(
  [
    "shape",
    "head",
    "file, MB",
    "opened, ms",
    "weights, MB",
    "cache, MB",
    "mapped, MB",
    "process before, MB",
    "opened, MB",
    "at most, MB",
    "above before / file and cache",
    "/ weights and cache",
  ],
  loads.map((l) => [
    l.shape,
    l.head,
    megabytes(l.fileBytes),
    round(l.loadMs),
    megabytes(l.weightBytes),
    megabytes(l.cacheBytes),
    l.mappedBytes === undefined ? "" : megabytes(l.mappedBytes),
    megabytes(l.residentBefore),
    megabytes(l.residentLoaded),
    megabytes(l.peak),
    round((l.peak - l.residentBefore) / (l.fileBytes + l.cacheBytes), 2),
    round((l.peak - l.residentBefore) / (l.weightBytes + l.cacheBytes), 2),
  ]),
)}
`;

function headsOf({ rows, about, tokens, contextTokens }: HeadsResult): string {
  const [exact] = rows;
  return `Perplexity of ${about || "a trained model"} (${tokens} tokens scored, windows of ${contextTokens}), by the format of the output head (tied: the embeddings' too) and of
the cache.

${table(
  ["head", "cache", "perplexity", "of exact", "bytes a token"],
  rows.map((r) => [
    r.head,
    r.cache,
    round(r.perplexity, 4),
    `${r.perplexity >= exact.perplexity ? "+" : ""}${round(100 * (r.perplexity / exact.perplexity - 1), 3)} %`,
    r.bytesForToken,
  ]),
)}
`;
}

const isasOf = ({
  shape,
  threads,
  rounds,
  head,
  cache,
  rows,
}: IsasResult) => `## Instruction sets, and forms of the weights

The ${shape} file on ${threads} threads, ${head} head, cache in ${cache}; in turns, ${rounds} rounds, median, tokens/s. 2bit: two bits a weight; trits: five to a byte.
Least cosine of the logits of a prompt with the first row's: ${round(Math.min(...rows.map((r) => r.cosine)), 6)}.

${table(
  ["instruction set", "weights", "read", "written"],
  rows.map((r) => [r.isa, r.weights, round(r.pp512), round(r.tg128, 1)]),
)}
`;

/** Sections of the log that say in their title that inference tried something in vain, whole. */
function tried(): string {
  const sections = readFileSync(resolve(root, "docs/log.md"), "utf8").split(/^## /m).slice(1);
  const found = sections.flatMap((section) => {
    const end = section.indexOf("\n");
    return /in vain for inference/i.test(section.slice(0, end)) ? [section.slice(end).trim()] : [];
  });
  return `## What was tried in vain\n\n${found.join("\n\n")}\n`;
}

const origin = ({ date, commit, command, loadAverage, machine }: Provenance) =>
  `\`${command}\`, commit ${commit}, ${date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}${
    loadAverage === undefined ? "" : `; load as it began ${loadAverage}`
  }.\n`;

export function inferencePage({ infer, heads, twinHeads, isas }: InferenceResults): string {
  const parts = [
    `# Inference: speed and memory

Made by \`npm run docs:results\` from what \`npm run bench:infer\`, \`bench/infer-heads.ts\` and \`bench/infer-isas.ts\` leave in \`bench/results/\`. How the engine works: ARCHITECTURE.md and
\`src/infer/packed/engine.ts\`; its options: [generation](generation.md).
`,
  ];
  if (infer) {
    parts.push(`## What it must show

${table(
  ["", "must be", "is", ""],
  inferenceTargets(infer).map((t) => [t.name, t.must, t.is, t.reached ? "reached" : "**not reached**"]),
)}
`);
    parts.push(speeds(infer), loading(infer), origin(infer));
  } else parts.push("Not measured yet: `npm run bench:infer`.\n");
  if (heads) parts.push("## What the formats cost\n", headsOf(heads), origin(heads));
  else parts.push("Not measured yet: `npx tsx bench/infer-heads.ts`.\n");
  if (heads && twinHeads) parts.push(headsOf(twinHeads), origin(twinHeads));
  if (isas) parts.push(isasOf(isas), origin(isas));
  else parts.push("Not measured yet: `npx tsx bench/infer-isas.ts`.\n");
  parts.push(tried());
  return parts.join("\n");
}

if (process.argv[1] === import.meta.filename) {
  const path = resolve(root, "docs/inference.md");
  writeFileSync(path, inferencePage(readInference(resolve(root, "bench/results"))));
  console.log("written: docs/inference.md");
}
