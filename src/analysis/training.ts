/**
 * A training run as numbers: curves, time of an epoch, speed, memory, what it was made of. Read from the run's folder alone,
 * so a run that was cut short is measured as far as it went, and says so. Called by report/.
 */
import { FormatError, UsageError } from "../platform/errors.ts";
import { exists } from "../platform/files.ts";
import { isRun, type RunMeta, readMeta, readRunConfig, runPaths } from "../train/run-folder.ts";
import { readScalarsAndDamage } from "../train/scalars.ts";

export interface CurvePoint {
  step: number;
  /** Trained on so far. */
  tokens: number;
  /** Nats per token: of training the mean over the steps since the point before. */
  lossNats: number;
}

/** What the metrics logged of a run's schedules at a step. */
export interface SchedulePoint {
  step: number;
  tokens: number;
  learningRate: number;
  weightDecay: number;
  /** Mean over the layers that quantize; null: all of them wholly, always. */
  quantLambda: number | null;
  /** Of `train.progressive` kind annealed; null elsewhere. */
  quantTemperature: number | null;
}

export interface TrainingMeasurement {
  folder: string;
  preset: string;
  /** Steps in the metrics, and steps that the run was to take. */
  steps: number;
  plannedSteps: number;
  finished: boolean;
  totalTokens: number;
  skippedSteps: number;
  /** Lines of the metrics that are no JSON: left out. */
  damagedLines: number;
  training: CurvePoint[];
  validation: (CurvePoint & { bitsPerByte: number | null })[];
  /** Absent in measurements of before. */
  schedule?: SchedulePoint[];
  /** Passes over the data that are whole. */
  epochs: { epoch: number; lossNats: number; elapsedMs: number }[];
  /** Of the steps alone: evaluation, samples and saving left out. */
  elapsedMs: number;
  /** Mean over the lines of metrics, and their standard deviation. */
  tokensPerSecond: number | null;
  tokensPerSecondDeviation: number | null;
  /** The most that the process was seen to hold. */
  peakMemoryBytes: number | null;
  data: RunMeta["data"];
  tokenizer: RunMeta["tokenizer"];
  parameters: RunMeta["parameters"];
  sessions: RunMeta["sessions"];
  /** The config as it was resolved: plain JSON. */
  config: unknown;
}

/** Points of a curve at most: as many as a chart can show. */
const maxPoints = 300;

const numberOr = (value: unknown, other: number): number =>
  typeof value === "number" && Number.isFinite(value) ? value : other;

/**
 * @throws UsageError for a folder that is no run, or has not begun; FormatError for a damaged one
 */
export function measureTraining(folder: string): TrainingMeasurement {
  if (!isRun(folder)) throw new UsageError(`${folder}: is not a run's folder (there is no config.yaml in it)`);
  const paths = runPaths(folder);
  const meta = readMeta(folder);
  if (!meta) throw new FormatError(`${folder}: has no meta.json; was the run cut short as it began? Begin it again`);
  for (const key of ["parameters", "derived", "tokenizer", "data"] as const)
    if (typeof meta[key] !== "object" || meta[key] === null)
      throw new FormatError(`${paths.meta}: "${key}" is missing; the file is damaged or from another version`);
  const { lines, damaged } = exists(paths.scalars) ? readScalarsAndDamage(paths.scalars) : { lines: [], damaged: 0 };
  const steps = lines.filter((line) => typeof line.elapsed_ms === "number");
  const trained = steps.filter((line) => typeof line.loss === "number");
  const tokensOf = (line: Record<string, unknown>) => numberOr(line.total_tokens, 0);
  const rates = steps.flatMap(({ tokens_per_sec }) =>
    typeof tokens_per_sec === "number" && Number.isFinite(tokens_per_sec) ? [tokens_per_sec] : [],
  );
  const last = steps.at(-1);
  const done = last?.step ?? 0;
  return {
    folder,
    preset: meta.preset,
    steps: done,
    plannedSteps: meta.derived.steps,
    finished: done >= meta.derived.steps,
    totalTokens: last ? tokensOf(last) : 0,
    skippedSteps: numberOr(last?.skipped_steps, 0),
    damagedLines: damaged,
    training: thin(
      trained.map((line) => ({ step: line.step, tokens: tokensOf(line), lossNats: line.loss as number })),
      maxPoints,
    ),
    validation: lines.flatMap((line) =>
      typeof line.val_loss === "number"
        ? [
            {
              step: line.step,
              tokens: tokensOf(line),
              lossNats: line.val_loss,
              bitsPerByte: typeof line.bits_per_byte === "number" ? line.bits_per_byte : null,
            },
          ]
        : [],
    ),
    schedule: lastOfEach(steps.flatMap(schedulePoint), maxPoints),
    epochs: epochsOf(steps, meta.derived.stepsPerEpoch),
    elapsedMs: steps.reduce((sum, line) => sum + (line.elapsed_ms as number), 0),
    ...spreadOf(rates),
    peakMemoryBytes: steps.reduce<number | null>(
      (most, line) => (typeof line.memory_rss_bytes === "number" ? Math.max(most ?? 0, line.memory_rss_bytes) : most),
      null,
    ),
    data: meta.data,
    tokenizer: meta.tokenizer,
    parameters: meta.parameters,
    sessions: meta.sessions,
    config: JSON.parse(JSON.stringify(readRunConfig(folder))),
  };
}

function spreadOf(rates: readonly number[]) {
  if (rates.length === 0) return { tokensPerSecond: null, tokensPerSecondDeviation: null };
  const mean = rates.reduce((a, b) => a + b, 0) / rates.length;
  const squares = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0);
  return {
    tokensPerSecond: mean,
    tokensPerSecondDeviation: rates.length > 1 ? Math.sqrt(squares / (rates.length - 1)) : null,
  };
}

/** Whole passes: those whose last step is in the metrics. */
function epochsOf(steps: readonly Record<string, unknown>[], stepsPerEpoch: number): TrainingMeasurement["epochs"] {
  const epochs = new Map<number, { loss: number; count: number; elapsedMs: number; last: number }>();
  for (const line of steps) {
    if (typeof line.epoch !== "number") continue;
    const sum = epochs.get(line.epoch) ?? { loss: 0, count: 0, elapsedMs: 0, last: 0 };
    if (typeof line.loss === "number") {
      sum.loss += line.loss;
      sum.count++;
    }
    sum.elapsedMs += line.elapsed_ms as number;
    sum.last = line.step as number;
    epochs.set(line.epoch, sum);
  }
  return [...epochs]
    .filter(([epoch, { last, count }]) => count > 0 && last >= (epoch + 1) * stepsPerEpoch)
    .map(([epoch, { loss, count, elapsedMs }]) => ({ epoch: epoch + 1, lossNats: loss / count, elapsedMs }));
}

function schedulePoint(line: Record<string, unknown>): SchedulePoint[] {
  const { step, learning_rate: learningRate, weight_decay: weightDecay } = line;
  if (typeof learningRate !== "number" || typeof weightDecay !== "number") return [];
  const numberOrNull = (value: unknown) => (typeof value === "number" ? value : null);
  return [
    {
      step: step as number,
      tokens: numberOr(line.total_tokens, 0),
      learningRate,
      weightDecay,
      quantLambda: numberOrNull(line.quant_lambda),
      quantTemperature: numberOrNull(line.quant_temperature),
    },
  ];
}

/** At most `most` points, evenly spread, the first and the last among them. */
function lastOfEach<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]);
}

/** At most `most` points: each the mean loss of its share of the steps, at the last of them. */
export function thin(points: readonly CurvePoint[], most: number): CurvePoint[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => {
    const part = points.slice(Math.floor((i * points.length) / most), Math.floor(((i + 1) * points.length) / most));
    const { step, tokens } = part[part.length - 1];
    return { step, tokens, lossNats: part.reduce((sum, point) => sum + point.lossNats, 0) / part.length };
  });
}
