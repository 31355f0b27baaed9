/** Two models' measurements as rows: category, metric, both values, delta, interpretation; and what makes them no twins. */
import { pairedStandardError, type Spread } from "../analysis/index.ts";
import { describePlan, planModel, sizeKeys } from "../model/index.ts";
import { formatCount } from "../platform/format.ts";
import { deltaOf, differenceError, type Interpretation, interpret } from "./interpret.ts";
import type { ModelMeasurement, TaskScore } from "./measurement.ts";
import { weightsNote } from "./sources.ts";

export type Unit = "nats" | "perplexity" | "bits" | "share" | "tokens/s" | "ms" | "bytes" | "bits a weight" | "number";

/** A metric of one model. */
export interface Value {
  value: number;
  standardError: number | null;
  /** An accuracy that says no more than what needs no model. */
  atChance?: boolean;
  /** An accuracy further below what needs no model than chance explains: not noise, and no knowledge either. */
  belowChance?: boolean;
}

export interface Metric {
  category: "Quality" | "Tasks" | "Training" | "Speed" | "Size and memory";
  name: string;
  unit: Unit;
  higherIsBetter: boolean;
  value: Value | null;
}

export interface Row extends Omit<Metric, "value"> {
  a: Value | null;
  b: Value | null;
  /** Zero-based, positive is better for a; null where one is missing. */
  delta: number | null;
  interpretation: Interpretation;
}

export interface Comparison {
  /** Names of the models. */
  a: string;
  /** null: there is nothing to compare with. */
  b: string | null;
  rows: Row[];
  /** What a reader must know: different data, tokenizers, lengths. */
  caveats: string[];
}

const plain = (value: number | null | undefined): Value | null =>
  value === null || value === undefined || !Number.isFinite(value) ? null : { value, standardError: null };

const spread = ({ mean, deviation, samples }: Spread): Value => ({
  value: mean,
  standardError: deviation === null ? null : deviation / Math.sqrt(samples),
});

/** All that was measured of a model, in the table's order. */
export function metricsOf(m: ModelMeasurement): Metric[] {
  const { text, training, speed, size } = m;
  const metrics: Metric[] = [];
  const add = (
    category: Metric["category"],
    name: string,
    unit: Unit,
    better: "higher" | "lower",
    value: Value | null,
  ) => metrics.push({ category, name, unit, higherIsBetter: better === "higher", value });

  add(
    "Quality",
    "bits per byte",
    "bits",
    "lower",
    text?.bitsPerByte == null ? null : { value: text.bitsPerByte, standardError: text.bitsPerByteStandardError },
  );
  add(
    "Quality",
    "perplexity per token",
    "perplexity",
    "lower",
    text && {
      value: text.perplexity,
      standardError: text.lossStandardError === null ? null : text.perplexity * text.lossStandardError,
    },
  );
  add("Quality", "loss", "nats", "lower", text && { value: text.lossNats, standardError: text.lossStandardError });
  const hits = text?.calibration.accuracy;
  add(
    "Quality",
    "next token guessed",
    "share",
    "higher",
    text && hits !== undefined ? { value: hits, standardError: Math.sqrt((hits * (1 - hits)) / text.tokens) } : null,
  );
  add("Quality", "calibration error (ECE)", "share", "lower", plain(text?.calibration.expectedCalibrationError));
  for (const score of m.tasks)
    metrics.push({
      category: "Tasks",
      name: taskRowName(score),
      unit: isShare(score) ? "share" : "number",
      higherIsBetter: score.higherIsBetter,
      value: {
        value: score.value,
        standardError: score.standardError,
        ...(score.withinNoise === undefined ? {} : { atChance: score.withinNoise, belowChance: isBelow(score) }),
      },
    });
  const epochs = training?.epochs ?? [];
  add("Training", "time for an epoch", "ms", "lower", plain(mean(epochs.map(({ elapsedMs }) => elapsedMs))));
  // No standard error: the steps of one run share its machine, and what else ran there.
  add("Training", "tokens a second", "tokens/s", "higher", plain(training?.tokensPerSecond));
  add("Training", "peak memory", "bytes", "lower", plain(training?.peakMemoryBytes));
  if (speed) {
    add("Speed", `reading (${speed.prompt.name})`, "tokens/s", "higher", spread(speed.prompt));
    add("Speed", `writing (${speed.decode.name})`, "tokens/s", "higher", spread(speed.decode));
    add(
      "Speed",
      `time to first token (${speed.firstToken.tokens} tokens before)`,
      "ms",
      "lower",
      spread(speed.firstToken),
    );
  }
  add("Size and memory", "file (compact)", "bytes", "lower", plain(size?.fileBytes));
  add("Size and memory", "bits a parameter in the file", "bits a weight", "lower", plain(size?.bitsPerParameter));
  add(
    "Size and memory",
    "bits a linear weight in the file",
    "bits a weight",
    "lower",
    plain(size?.linearBitsPerWeight),
  );
  // At most log2 3 = 1.585: what the histograms of -1, 0 and +1 leave to say of a weight.
  add("Size and memory", "entropy of ternary weights", "bits a weight", "lower", plain(size?.ternaryEntropyBits));
  add("Size and memory", "memory when loaded", "bytes", "lower", plain(speed?.loadedBytes));
  add("Size and memory", "peak memory while running", "bytes", "lower", plain(speed?.peakBytes));
  return metrics;
}

export const taskRowName = ({ task, metric, fewshot }: TaskScore): string =>
  `${task} ${metric}${fewshot ? ` (${fewshot}-shot)` : ""}`;

const isBelow = ({ value, withinNoise, baselines = [] }: TaskScore): boolean =>
  withinNoise === false && baselines.length > 0 && value < Math.min(...baselines);

/** Shares of items: of 0 to 1, and what charts of accuracy show. */
export const isShare = ({ metric }: TaskScore): boolean => /^(acc|pass@|exact_match)/.test(metric);

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;

/** What other programs may take of the processors while models are timed, before the report says that they did. */
const quietShare = 0.05;

/** Metrics of a text that say something only between models of one tokenizer. */
const perToken = new Set(["perplexity per token", "loss", "next token guessed", "calibration error (ECE)"]);

/** @param b null: a alone, every delta missing */
export function compare(a: ModelMeasurement, b: ModelMeasurement | null): Comparison {
  const caveats = b ? caveatsOf(a, b) : [`there is no twin to compare ${a.name} with: deltas are missing`];
  const sameTokenizer = !b || !differentTokenizers(a, b);
  const sameText = !b || !a.text || !b.text || sameScored(a, b);
  const [left, right] = [metricsOf(a), b ? metricsOf(b) : []];
  const names = [...new Set([...left, ...right].map(({ category, name }) => `${category}\n${name}`))];
  const order = ["Quality", "Tasks", "Training", "Speed", "Size and memory"];
  const rows = names.flatMap((key): Row[] => {
    const find = (list: Metric[]) => list.find(({ category, name }) => `${category}\n${name}` === key);
    const [x, y] = [find(left), find(right)];
    const { category, name, unit, higherIsBetter } = (x ?? y)!;
    const values = { a: x?.value ?? null, b: y?.value ?? null };
    if (!values.a && !values.b) return [];
    if (!sameTokenizer && perToken.has(name)) return [];
    const comparable =
      category === "Quality" ? sameText : category !== "Tasks" || !b || differentTask(name, a, b) === null;
    const delta = comparable ? deltaOf(values.a?.value ?? null, values.b?.value ?? null, higherIsBetter) : null;
    const difference =
      comparable && values.a && values.b
        ? { value: values.a.value - values.b.value, standardError: errorOf(name, values.a, values.b, a, b) }
        : null;
    // Two that say nothing do not differ in what they say, however far apart always "yes" and always "no" lie.
    const bothAtChance = delta !== null && values.a?.atChance && values.b?.atChance;
    const interpretation = bothAtChance ? "within noise" : interpret(delta, difference);
    return [{ category, name, unit, higherIsBetter, ...values, delta, interpretation }];
  });
  rows.sort((x, y) => order.indexOf(x.category) - order.indexOf(y.category));
  return { a: a.name, b: b?.name ?? null, rows, caveats };
}

/** Standard error of a difference: paired by windows where both models scored the same ones. */
function errorOf(name: string, x: Value, y: Value, a: ModelMeasurement, b: ModelMeasurement | null): number | null {
  const paired =
    a.text && b?.text && a.text.identity === b.text.identity
      ? pairedStandardError(a.text.windows, b.text.windows)
      : null;
  if (paired !== null && a.text) {
    if (name === "loss") return paired;
    if (name === "perplexity per token") return paired * Math.sqrt(x.value * y.value);
    if (name === "bits per byte" && a.text.bytes) return (paired * a.text.tokens) / (Math.LN2 * a.text.bytes);
  }
  return differenceError(x.standardError, y.standardError);
}

/** Random weights have no tokenizer, and nothing that another one would spoil. */
const differentTokenizers = ({ tokenizer: x }: ModelMeasurement, { tokenizer: y }: ModelMeasurement): boolean =>
  x !== null && y !== null && x.hash !== y.hash;

/** The same text, and the same part of it. */
function sameScored({ text: x }: ModelMeasurement, { text: y }: ModelMeasurement): boolean {
  return x !== null && y !== null && x.sha256 === y.sha256 && ((x.whole && y.whole) || x.bytes === y.bytes);
}

/** Why two scores of one row cannot be compared; null: they can. */
function differentTask(name: string, a: ModelMeasurement, b: ModelMeasurement): string | null {
  const find = ({ tasks }: ModelMeasurement) => tasks.find((score) => taskRowName(score) === name);
  const [x, y] = [find(a), find(b)];
  if (!x || !y) return null;
  if (x.items !== null && y.items !== null && x.items !== y.items)
    return `${name} was scored on ${x.items} and on ${y.items} items`;
  // The hash is of the data for what was run here, of the results file for what was read.
  if (x.baselines && y.baselines && x.sha256 !== y.sha256) return `${name} was scored on different data`;
  return null;
}

function caveatsOf(a: ModelMeasurement, b: ModelMeasurement): string[] {
  const found: string[] = [];
  const [ofA, ofB] = [planModel(a.config), planModel(b.config)];
  if (ofA.anyTernary === ofB.anyTernary) {
    const same = describePlan(ofA) === describePlan(ofB);
    found.push(
      same
        ? `${a.name} and ${b.name} are both of the ${a.config.variant} variant: this is no comparison of twins`
        : `${a.name} is ${describePlan(ofA)} and ${b.name} ${describePlan(ofB)}: this is no comparison of twins`,
    );
  }
  if (differentTokenizers(a, b))
    found.push("the models have different tokenizers: of the text only bits per byte are compared");
  if (a.text && b.text && !sameScored(a, b))
    found.push("the models did not score the same text, or not the same part of it: its metrics are not compared");
  if (a.text && b.text && a.text.sequence !== b.text.sequence)
    found.push(`the models saw windows of ${a.text.sequence} and ${b.text.sequence} tokens`);
  for (const score of a.tasks) {
    const different = differentTask(taskRowName(score), a, b);
    if (different) found.push(`${different}: not compared`);
  }
  const skeleton = [...sizeKeys, "contextLength"] as const;
  const different = skeleton.filter((key) => a.config[key] !== b.config[key]);
  if (different.length > 0)
    found.push(
      `the models have different shapes: ${different.map((key) => `${key} ${a.config[key]} and ${b.config[key]}`).join(", ")}`,
    );
  const [x, y] = [a.training, b.training];
  if (x && y) {
    if (x.data.identity !== y.data.identity) found.push("the models were trained on different data");
    if (x.totalTokens !== y.totalTokens)
      found.push(
        `the models were trained on ${x.totalTokens.toLocaleString("en-US")} and ${y.totalTokens.toLocaleString("en-US")} tokens`,
      );
    const [s, t] = [x.sessions.at(-1), y.sessions.at(-1)];
    if (s && t && (s.machine.processor !== t.machine.processor || s.threads !== t.threads || s.isa !== t.isa))
      found.push("the models were trained on different machines: their training times say little");
  }
  for (const m of [a, b]) found.push(...trainingCaveats(m));
  for (const m of [a, b]) if (m.weights === "rounded") found.push(`${m.name}: ${weightsNote.rounded}`);
  const busy = a.speed && b.speed ? (a.made.speed?.othersShare ?? 0) : 0;
  if (busy > quietShare)
    found.push(
      `other programs took ${(100 * busy).toFixed(0)} % of the processors while the models were timed: the speeds say little (--fresh-speed times them again, on a machine that does nothing else)`,
    );
  for (const part of ["text", "speed", "size", "training"] as const)
    if ((a[part] === null) !== (b[part] === null))
      found.push(`${part} was measured of ${a[part] ? a.name : b.name} only`);
  return found;
}

/** What a run that did not finish, was not sound, or whose metrics are not whole, has to say. */
export function trainingCaveats({ name, training, step }: ModelMeasurement): string[] {
  if (!training) return [];
  const { steps, plannedSteps, skippedSteps, damagedLines } = training;
  const said: string[] = [];
  if (Math.max(steps, step ?? 0) < plannedSteps)
    said.push(
      `${name} was cut short: ${formatCount(steps)} of ${formatCount(plannedSteps)} steps; what is shown is of that part`,
    );
  if (step !== null && step < steps)
    said.push(`${name}: the newest whole checkpoint is of step ${formatCount(step)}, before the run's end`);
  if (step !== null && step > steps)
    said.push(
      `${name}: its metrics end at step ${formatCount(steps)}, but the checkpoint is of step ${formatCount(step)}: metrics/scalars.jsonl was cut or lost; curve, times and memory are of what is there`,
    );
  if (skippedSteps > 0)
    said.push(`${name}: ${formatCount(skippedSteps)} steps were skipped, since loss or gradient was not finite`);
  if (damagedLines > 0)
    said.push(
      `${name}: ${formatCount(damagedLines)} ${damagedLines === 1 ? "line" : "lines"} of metrics/scalars.jsonl, no JSON (unfinished by a kill, or damaged), left out`,
    );
  return said;
}

/** Keys of two resolved configs that differ, with both values: what was not the same in the two trainings. */
export function configDifferences(a: unknown, b: unknown, path = ""): { key: string; a: unknown; b: unknown }[] {
  const isObject = (x: unknown): x is Record<string, unknown> =>
    typeof x === "object" && x !== null && !Array.isArray(x);
  if (isObject(a) && isObject(b))
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) =>
      configDifferences(a[key], b[key], path ? `${path}.${key}` : key),
    );
  return JSON.stringify(a) === JSON.stringify(b) ? [] : [{ key: path, a, b }];
}
