/**
 * What a config schedules over a run, as numbers: learning rate, weight decay, lambda by group of layers, and what a kind of
 * progressive quantization logs beside it. Computed from the config alone, nothing is trained; of any kind, extensions' too.
 * Drawn by `bitnet train --print-config --plot`.
 */
import { UsageError } from "../platform/errors.ts";
import { deriveRun, quantizedLayers } from "./config.ts";
import type { RunConfig } from "./config-schema.ts";

export interface RunCurve {
  /** "learning rate", "weight decay", "lambda", "lambda of layers.0-3", "quant_temperature". */
  name: string;
  /** At the steps of `RunCurves`; NaN where the kind has no such number. */
  values: number[];
}

export interface RunCurves {
  /** N */
  totalSteps: number;
  /** Whether the run's length depends on its data, so that N is an assumption. */
  assumed: boolean;
  /** From 1 to N, at most as many as were asked for. */
  steps: number[];
  curves: RunCurve[];
}

/** Steps that are drawn where the data decide how many there are. */
const assumedSteps = 1000;

/** @throws UsageError where there is no step, and as `deriveRun` */
export function runCurves(config: RunConfig, points: number): RunCurves {
  const { epochs } = config.train;
  const derived = deriveRun(config, epochs === null ? 1 : assumedSteps / epochs);
  const { steps: N, schedule, quantization } = derived;
  if (N === 0) throw new UsageError("train.steps is 0: there is no schedule to draw; name a number of steps");
  const count = Math.min(points, N);
  const steps = Array.from({ length: count }, (_, i) =>
    count === 1 ? 1 : 1 + Math.round((i * (N - 1)) / (count - 1)),
  );
  const scheduled = steps.map((step) => schedule(step));
  const curves: RunCurve[] = [
    { name: "learning rate", values: scheduled.map(({ learningRate }) => learningRate) },
    { name: "weight decay", values: scheduled.map(({ weightDecay }) => weightDecay) },
  ];
  if (quantization) {
    const at = steps.map((step) => quantization.at(step));
    const layers = quantizedLayers(config);
    const groups = new Map<string, { names: string[]; values: number[] }>();
    for (const name of layers) {
      const values = at.map(({ of }) => of(name).lambda);
      const key = values.join();
      const group = groups.get(key) ?? { names: [], values };
      group.names.push(name);
      groups.set(key, group);
    }
    for (const { names, values } of groups.values())
      curves.push({ name: groups.size === 1 ? "lambda" : `lambda of ${groupName(names, layers)}`, values });
    for (const key of new Set(at.flatMap(({ metrics }) => Object.keys(metrics ?? {}))))
      curves.push({ name: key, values: at.map(({ metrics }) => metrics?.[key] ?? Number.NaN) });
  }
  return { totalSteps: N, assumed: epochs !== null, steps, curves };
}

/** layers.0-3 where it is whole blocks in a row; else the first layer's name and how many more. */
function groupName(names: readonly string[], all: readonly string[]): string {
  const blockOf = (name: string) => /\blayers\.(\d+)\./.exec(name)?.[1];
  const blocks = [...new Set(names.map(blockOf))];
  const whole = all.filter((name) => blocks.includes(blockOf(name))).length === names.length;
  const numbers = blocks.map(Number);
  const inARow = numbers.every((block, i) => i === 0 || block === numbers[i - 1] + 1);
  if (whole && inARow) return `layers.${blocks.length === 1 ? blocks[0] : `${blocks[0]}-${blocks.at(-1)}`}`;
  const first = names[0].replace(/^model\./, "");
  return names.length === 1 ? first : `${first} and ${names.length - 1} more`;
}
