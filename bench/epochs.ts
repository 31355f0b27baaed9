/**
 * What finished runs of several epochs came to: reads the run folders, scores each model on a text and lets it write,
 * with the commands that a user has, and keeps the result in bench/results/epochs.json.
 *
 *   npx bitnet train tiny --data train.txt.gz --val-data valid.txt --epochs 3 --run-dir runs/tiny-bitnet
 *   npx bitnet train tiny --variant full --data train.txt.gz --val-data valid.txt --epochs 3 --run-dir runs/tiny-full
 *   npx tsx bench/epochs.ts --text valid.txt runs/tiny-bitnet runs/tiny-full
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values: options, positionals: runs } = parseArgs({
  allowPositionals: true,
  options: {
    text: { type: "string" },
    prompt: { type: "string", default: "Once upon a time" },
    samples: { type: "string", default: "3" },
    name: { type: "string", default: "epochs" },
  },
});
if (!options.text || runs.length === 0) throw new Error("usage: tsx bench/epochs.ts --text FILE RUN...");

const bitnet = (...args: string[]) =>
  execFileSync(process.execPath, [resolve(import.meta.dirname, "../dist/cli/main.js"), ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 2 ** 28,
  });

interface Scalars {
  step: number;
  loss?: number;
  bits_per_byte?: number;
  tokens_per_sec?: number;
  memory_rss_bytes?: number;
  ternary_share?: number;
  skipped_steps?: number;
}

/** Mean of `values` in groups of `size`: what a picture can show of 1,600 steps. */
function grouped(values: readonly number[], size: number): number[] {
  const groups: number[] = [];
  for (let i = 0; i < values.length; i += size) {
    const group = values.slice(i, i + size);
    groups.push(Number((group.reduce((sum, v) => sum + v, 0) / group.length).toFixed(5)));
  }
  return groups;
}

const lossEvery = 10;

function describe(run: string) {
  const rows = readFileSync(resolve(run, "metrics/scalars.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Scalars);
  const meta = JSON.parse(readFileSync(resolve(run, "meta.json"), "utf8"));
  const steps = rows.filter((row) => row.loss !== undefined);
  const last = steps.at(-1)!;
  if (last.step !== meta.derived.steps)
    throw new Error(
      `${run}: ended at step ${last.step} of ${meta.derived.steps}; finish it with bitnet train --resume`,
    );
  const score = JSON.parse(bitnet("eval", "-m", run, "--data", options.text!, "--json"));
  const samples = Array.from({ length: Number(options.samples) }, (_, i) => {
    const seed = i + 1;
    const args = ["-p", options.prompt, "-n", "150", "--temp", "0.8", "--seed", String(seed)];
    return { seed, text: bitnet("generate", "-m", run, ...args).trim() };
  });
  return {
    name: score.variant as string,
    steps: last.step,
    epochs: last.step / meta.derived.stepsPerEpoch,
    tokens: last.step * meta.derived.tokensPerStep,
    parameters: meta.parameters,
    microBatch: meta.derived.microBatch,
    learningRate: parse(readFileSync(resolve(run, "config.yaml"), "utf8")).optimizer.learningRate as number,
    trainedWith: meta.sessions,
    bitsPerByte: score.bits_per_byte as number,
    perplexity: score.perplexity as number,
    lossNats: score.loss as number,
    scoredTokens: score.tokens as number,
    skippedSteps: last.skipped_steps ?? 0,
    ternaryShare: last.ternary_share ?? null,
    medianTokensPerSecond: medianOf(steps.map((row) => row.tokens_per_sec!)),
    bestTokensPerSecond: Math.max(...steps.map((row) => row.tokens_per_sec!)),
    peakRssMiB: Math.max(...steps.map((row) => row.memory_rss_bytes!)) / 2 ** 20,
    lossEvery,
    trainLoss: grouped(
      steps.map((row) => row.loss!),
      lossEvery,
    ),
    validation: rows
      .filter((r) => r.bits_per_byte !== undefined)
      .map((r) => ({ step: r.step, bitsPerByte: r.bits_per_byte! })),
    samples,
  };
}

const models = runs.map(describe);
for (const model of models)
  console.log(
    `${model.name}: ${model.bitsPerByte.toFixed(4)} bits per byte, perplexity ${model.perplexity.toFixed(3)}`,
  );
writeResult(options.name, {
  ...provenance(`npx tsx bench/epochs.ts --text ${basename(options.text)} ${runs.map((r) => basename(r)).join(" ")}`),
  text: basename(options.text),
  prompt: options.prompt,
  models,
});
