/** What a diagnosis looks at: a run's folder as numbers. Read once; rules compute from it and open nothing. */
import { FormatError, UsageError } from "../../platform/errors.ts";
import { exists } from "../../platform/files.ts";
import { loadTokenizer } from "../../tokenizer/index.ts";
import { resolveConfig, type RunConfig } from "../../train/index.ts";
import { isRun, type RunMeta, readMeta, readRunConfig, runPaths } from "../../train/run-folder.ts";
import { readScalarsAndDamage } from "../../train/scalars.ts";

/** A line of a step. Numbers that were not finite are null. */
export interface StepLine {
  step: number;
  loss: number | null;
  gradNorm: number | null;
  learningRate: number;
  elapsedMs: number;
  dataWaitMs: number;
  skippedSteps: number;
  skippedBatches: number;
  memoryBytes: number;
  /** Absent: wholly quantized. */
  quantLambda: number | null;
}

/** A line's numbers of one ternary layer. */
export interface LayerLine {
  step: number;
  /** Share of zeros. */
  zero: number | null;
  /** The scale; null in lines of error measures alone. */
  gamma: number | null;
  /** Whether a trit or the scale changed since the measurement before; null where that was not measured. */
  changed: boolean | null;
  saturated: number | null;
}

export interface Evidence {
  folder: string;
  config: Pick<RunConfig, "model" | "train" | "optimizer" | "evaluation" | "data">;
  meta: Pick<RunMeta, "derived" | "parameters" | "tokenizer" | "data">;
  /** Of the tokenizer that lies in the folder; null where there is none. */
  tokenizerHash: string | null;
  steps: readonly StepLine[];
  validation: readonly { step: number; lossNats: number }[];
  layers: ReadonlyMap<string, readonly LayerLine[]>;
}

const numberOr = <T>(value: unknown, other: T): number | T =>
  typeof value === "number" && Number.isFinite(value) ? value : other;

/** @throws UsageError for a folder that is no run, or without a step yet; FormatError for a damaged one */
export function readEvidence(folder: string): Evidence {
  if (!isRun(folder)) throw new UsageError(`${folder}: is not a run's folder (there is no config.yaml in it)`);
  const paths = runPaths(folder);
  const meta = readMeta(folder);
  if (!meta) throw new FormatError(`${folder}: has no meta.json; was the run cut short as it began? Begin it again`);
  const { lines } = exists(paths.scalars) ? readScalarsAndDamage(paths.scalars) : { lines: [] };
  const config = resolveConfig([{ from: paths.config, patch: readRunConfig(folder), resolved: true }]);
  const steps = lines.filter((line) => "elapsed_ms" in line);
  if (steps.length === 0)
    throw new UsageError(`${folder}: has no step in metrics/scalars.jsonl yet; let it train for some steps first`);
  const layers = new Map<string, LayerLine[]>();
  for (const line of steps)
    for (const [name, values] of Object.entries((line.layers ?? {}) as Record<string, Record<string, unknown>>)) {
      const list = layers.get(name) ?? [];
      layers.set(name, list);
      list.push({
        step: line.step,
        zero: numberOr(values.zero, null),
        gamma: numberOr(values.gamma, null),
        changed: changedBy(values),
        saturated: numberOr(values.saturated, null),
      });
    }
  return {
    folder,
    config,
    meta,
    tokenizerHash: exists(paths.tokenizer) ? loadTokenizer(paths.tokenizer).hash : null,
    steps: steps.map((line) => ({
      step: line.step,
      loss: numberOr(line.loss, null),
      gradNorm: numberOr(line.grad_norm, null),
      learningRate: numberOr(line.learning_rate, 0),
      elapsedMs: numberOr(line.elapsed_ms, 0),
      dataWaitMs: numberOr(line.data_wait_ms, 0),
      skippedSteps: numberOr(line.skipped_steps, 0),
      skippedBatches: numberOr(line.skipped_batches, 0),
      memoryBytes: numberOr(line.memory_rss_bytes, 0),
      quantLambda: numberOr(line.quant_lambda, null),
    })),
    validation: lines.flatMap((line) =>
      typeof line.val_loss === "number" ? [{ step: line.step, lossNats: line.val_loss }] : [],
    ),
    layers,
  };
}

/** By trits that flipped, and by the scale where the line has its drift. */
function changedBy({ flipped, flip_share, scale_drift }: Record<string, unknown>): boolean | null {
  const numbers = [flipped, flip_share, scale_drift].filter((value) => typeof value === "number");
  return numbers.length === 0 ? null : numbers.some((value) => value !== 0);
}

/** Losses that are numbers, in order. */
export const lossesOf = ({ steps }: Pick<Evidence, "steps">): { step: number; loss: number }[] =>
  steps.flatMap(({ step, loss }) => (loss === null ? [] : [{ step, loss }]));

export function mean(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

/** Mean of the first and the last tenth, of five values at least where there are so many. */
export function ends(values: readonly number[]): { first: number; last: number } {
  const n = Math.min(values.length, Math.max(5, Math.floor(values.length / 10)));
  return { first: mean(values.slice(0, n)), last: mean(values.slice(-n)) };
}
