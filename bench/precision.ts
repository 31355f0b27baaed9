/**
 * What bfloat16 and int8 in backward and AdamW's moments in eight bits do to the loss: `tiny`, four times, from the same
 * weights over the same tokens of TinyStories in the same order, on the preset's schedule: float32 products; bfloat16; int8
 * for the ternary layers' gradients; bfloat16 with `adamw8bit`. Every step's loss is kept; docs/results.md draws the curves
 * and says how far they are from float32's.
 *
 *   npm run bench -- precision                                         on the shared TinyStories, where they are
 *   npx tsx bench/precision.ts --data train.txt.gz                     trains a tokenizer of 2048 tokens on the text first
 *   npx tsx bench/precision.ts --batches batches.i32                   as `bench/curve.ts export` made them
 *   npm run bench -- precision --folder FOLDER                         keeps the curves there, and begins where it was stopped
 *   npx tsx bench/precision.ts --data train.txt.gz --quick             a trial: 3 steps of 2 x 32 tokens, written beside the build
 *
 * 300 steps of 32 x 256 tokens take 40 minutes on two cores with AVX-512 BF16. It needs a processor that multiplies
 * bfloat16. Before a result is written, the first losses are held to each other and to ln V: they come from the same
 * weights, and differ by the products' rounding alone.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { presetConfig } from "../src/model/index.ts";
import type { PrecisionCurves } from "./precision-curves.ts";
import { provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    data: { type: "string" },
    batches: { type: "string" },
    batch: { type: "string" },
    sequence: { type: "string" },
    micro: { type: "string" },
    steps: { type: "string" },
    seed: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
    folder: { type: "string" },
  },
});
const { quick } = options;
const steps = Number(options.steps ?? (quick ? 3 : 300));
const batch = Number(options.batch ?? (quick ? 2 : 32));
const sequence = Number(options.sequence ?? (quick ? 32 : 256));
const micro = Number(options.micro ?? (quick ? 2 : 16));
if (options.data !== undefined && options.batches !== undefined)
  throw new Error("precision: give --data FILE or --batches FILE, not both");
const stories = resolve(import.meta.dirname, "../../shared/data/tinystories", quick ? "valid.txt" : "train.txt.gz");
const data = options.data ?? stories;
if (!options.batches && !existsSync(data)) {
  console.log(`left out: precision: ${basename(data)} of TinyStories is not there; give --data FILE`);
  process.exit(0);
}

const variants = [
  { name: "float32", precision: "fp32", optimizer: "adamw" },
  { name: "bfloat16", precision: "bf16", optimizer: "adamw" },
  { name: "int8", precision: "int8", optimizer: "adamw" },
  { name: "bfloat16, adamw8bit", precision: "bf16", optimizer: "adamw8bit" },
] as const;

interface Curve {
  precision: string;
  isa: string;
  optimizer: string;
  stateBytes: number;
  log: { step: number; loss: number }[];
}

function run(program: string, args: string[]): void {
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", resolve(import.meta.dirname, program), ...args],
    { encoding: "utf8", stdio: ["ignore", "inherit", "pipe"] },
  );
  if (status !== 0) throw new Error(`${program} ${args[0]}: ${stderr.trim()}`);
}

if (options.folder) mkdirSync(options.folder, { recursive: true });
const folder = options.folder ?? mkdtempSync(join(tmpdir(), "bitnet-precision-"));
try {
  const shape = ["--batch", `${batch}`, "--sequence", `${sequence}`, "--steps", `${steps}`, "--seed", options.seed];
  const batches = options.batches ?? makeBatches(data, shape);
  const curves = variants.map(({ name, precision, optimizer }, i): Curve => {
    console.log(`-- ${name}`);
    const out = join(folder, `${i}.json`);
    const how = [
      "--precision",
      precision,
      "--optimizer",
      optimizer,
      "--schedule",
      "preset",
      "--threads",
      options.threads,
    ];
    if (!existsSync(out))
      run("curve.ts", ["train", "--batches", batches, "--out", out, "--micro", `${micro}`, ...shape, ...how]);
    return JSON.parse(readFileSync(out, "utf8"));
  });
  check(curves.map(({ log }) => log[0].loss));
  const result: PrecisionCurves = {
    ...provenance(["npm run bench -- precision", ...process.argv.slice(2).map(withoutFolder)].join(" ")),
    ...{ preset: "tiny", batch, sequence, steps, seed: Number(options.seed), threads: Number(options.threads) },
    isa: curves[0].isa,
    series: curves.map(({ precision, optimizer, stateBytes, log }, i) => ({
      name: variants[i].name,
      ...{ precision, optimizer, stateBytes },
      loss: log.map(({ loss }) => Number(loss.toPrecision(7))),
    })),
  };
  writeResult("precision", result, quick);
} finally {
  if (!options.folder) rmSync(folder, { recursive: true, force: true });
}

function makeBatches(data: string, shape: string[]): string {
  const [tokenizer, batches] = [join(folder, "tokenizer.json"), join(folder, "batches.i32")];
  if (existsSync(batches)) return batches;
  run("../src/cli/main.ts", ["tokenizer", "train", "--data", data, "--vocab-size", "2048", "-o", tokenizer]);
  run("curve.ts", ["export", "--data", data, "--tokenizer", tokenizer, "--batches", batches, ...shape]);
  return batches;
}

/** Untrained, all are one model: bfloat16 rounds 2^-9 of each product, and of thousands the mean is far closer. */
function check(first: readonly number[]): void {
  const chance = Math.log(presetConfig("tiny", "bitnet").vocabSize);
  for (const [i, loss] of first.entries())
    if (!(Math.abs(loss / first[0] - 1) < 1e-3 && Math.abs(loss - chance) < 0.3))
      throw new Error(
        `precision: the first loss of ${variants[i].name} is ${loss}, of float32 ${first[0]}; expected the same, near ln V = ${chance.toFixed(3)}`,
      );
}

/** A result says how it was made, not where files lay. */
function withoutFolder(word: string): string {
  return word.includes("/") ? basename(word) : word;
}
