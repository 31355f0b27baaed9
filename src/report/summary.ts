/** The executive summary: sentences made of the table's numbers, wins and gaps alike. Nothing is said that has no row. */
import type { TrainingMeasurement } from "../analysis/index.ts";
import { describePlan, planModel } from "../model/index.ts";
import { formatCount } from "../platform/format.ts";
import type { Comparison, Row, Value } from "./compare.ts";
import { formatDelta, type Interpretation } from "./interpret.ts";
import type { ModelMeasurement } from "./measurement.ts";
import { formatUnit } from "./numbers.ts";

const good: readonly Interpretation[] = ["major win", "win"];
const bad: readonly Interpretation[] = ["significant deficiency", "needs improvement", "minor gap"];

export function summarize(comparison: Comparison, measurements: readonly ModelMeasurement[]): string[] {
  const { a, b, rows, caveats } = comparison;
  const first = measurements.find(({ name }) => name === a)!;
  const sentences: string[] = [];
  if (b === null) {
    sentences.push(`${describe(first)} It stands alone: there is no full-precision twin to compare it with.`);
    const quality = rows.find(({ name, a: value }) => name === "bits per byte" && value);
    if (quality?.a) sentences.push(`On the text it takes ${formatUnit(quality.a.value, "bits")} per byte.`);
    return sentences;
  }
  const second = measurements.find(({ name }) => name === b)!;
  sentences.push(`${describe(first)} ${describe(second)}`);
  const quality = rows.find(({ name, delta }) => name === "bits per byte" && delta !== null);
  if (quality) sentences.push(qualitySentence(quality, a, b));
  else if (first.weights === "random" || second.weights === "random")
    sentences.push(qualityBesideRandom(first, second));
  else sentences.push("Quality was not compared: no text was scored by both.");
  const tasks = tasksSentence(rows, a, b);
  if (tasks) sentences.push(tasks);
  const compared = rows.filter(({ interpretation }) => interpretation !== "not compared");
  const count = (words: readonly Interpretation[]) =>
    compared.filter(({ interpretation }) => words.includes(interpretation)).length;
  sentences.push(
    `Of ${compared.length} metrics that could be compared, ${a} is ahead in ${count(good)}, level in ${count(["parity", "within noise"])} (${count(["within noise"])} of these within noise), behind in ${count(bad)}.`,
  );
  const strengths = top(compared, good, (x, y) => y.delta! - x.delta!);
  if (strengths) sentences.push(`Strengths of ${a}: ${strengths}.`);
  const weaknesses = top(compared, bad, (x, y) => x.delta! - y.delta!);
  if (weaknesses) sentences.push(`Deficiencies of ${a}: ${weaknesses}.`);
  else sentences.push(`No metric shows ${a} behind by more than parity allows.`);
  if (caveats.length > 0) sentences.push(caveatText(comparison));
  return sentences;
}

export const caveatText = ({ caveats }: Comparison): string => `To be read with care: ${caveats.join("; ")}.`;

const standing: Partial<Record<Interpretation, string>> = {
  "major win": "far ahead",
  win: "ahead",
  parity: "at parity",
  "minor gap": "slightly behind",
};

function qualitySentence({ a: x, b: y, delta, interpretation }: Row, a: string, b: string): string {
  const values = `${formatUnit(x!.value, "bits")} per byte against ${formatUnit(y!.value, "bits")}`;
  if (interpretation === "within noise")
    return `In quality ${a} and ${b} cannot be told apart: ${values}, within noise.`;
  return `In quality ${a} is ${standing[interpretation] ?? "behind"} (${interpretation}): ${values}, ${formatDelta(delta)}.`;
}

/** Of random weights nothing can be said; of the other model, where it is none, what was measured. */
function qualityBesideRandom(first: ModelMeasurement, second: ModelMeasurement): string {
  const [trained, random] = first.weights === "random" ? [second, first] : [first, second];
  if (trained.weights === "random" || !trained.text)
    return "Quality was not measured: that needs trained weights, and these are random.";
  const { bitsPerByte, lossNats } = trained.text;
  const value =
    bitsPerByte === null ? `${formatUnit(lossNats, "nats")} per token` : `${formatUnit(bitsPerByte, "bits")} per byte`;
  return `Quality was measured of ${trained.name} only, ${value}: the weights of ${random.name} are random, and there is nothing to compare it with.`;
}

/** How much of the tasks' scores says anything. */
function tasksSentence(rows: readonly Row[], a: string, b: string): string | null {
  const tasks = rows.filter(({ category }) => category === "Tasks");
  if (tasks.length === 0) return null;
  const chance = (value: (row: Row) => Value | null) => {
    const judged = tasks.flatMap((row) => value(row) ?? []).filter(({ atChance }) => atChance !== undefined);
    const count = (of: (value: Value) => boolean | undefined) => judged.filter(of).length;
    const below = count(({ belowChance }) => belowChance);
    return `${count(({ atChance }) => atChance)}${below > 0 ? ` (and ${below} below)` : ""} of ${judged.length}`;
  };
  const count = (wanted: (row: Row) => boolean) => tasks.filter(wanted).length;
  const better = count(({ interpretation }) => good.includes(interpretation));
  const worse = count(({ interpretation }) => bad.includes(interpretation));
  const even = count(({ interpretation }) => interpretation === "within noise" || interpretation === "parity");
  return `Of ${tasks.length} ${tasks.length === 1 ? "score" : "scores"} on tasks ${a} is better in ${better}, worse in ${worse} and level in ${even}; at chance are ${chance((row) => row.a)} accuracies of ${a} and ${chance((row) => row.b)} of ${b}.`;
}

function top(rows: readonly Row[], words: readonly Interpretation[], order: (x: Row, y: Row) => number): string {
  return rows
    .filter(({ interpretation }) => words.includes(interpretation))
    .sort(order)
    .slice(0, 5)
    .map(
      ({ name, category, delta, a, b, unit }) =>
        `${category === "Training" ? "training: " : ""}${name} ${formatDelta(delta)} (${formatUnit(a!.value, unit)} against ${formatUnit(b!.value, unit)})`,
    )
    .join("; ");
}

/** By the metrics; where they end before the checkpoint, by that. */
function trainedText({ steps, plannedSteps, totalTokens }: TrainingMeasurement, step: number | null): string {
  const done = Math.max(steps, step ?? 0);
  const much =
    step !== null && step > steps ? `for ${formatCount(step)} steps` : `on ${formatCount(totalTokens)} tokens`;
  return `trained ${much}${done >= plannedSteps ? "" : " before it was cut short"}`;
}

function describe({ name, config, parameters, training, size, weights, step }: ModelMeasurement): string {
  const ternary =
    size && size.ternaryParameters > 0
      ? `, ${((100 * size.ternaryParameters) / parameters).toFixed(1)} % of them ternary`
      : "";
  const plan = planModel(config);
  const kind = plan.allBitLinear
    ? "a BitNet b1.58 model"
    : plan.allFloat
      ? "a full-precision model"
      : `a model of mixed precision (${describePlan(plan)})`;
  const trained = training ? `, ${trainedText(training, step)}` : "";
  const drawn =
    weights === undefined ? "" : weights === "random" ? ", its weights random" : ", rounded without training";
  return `${name} is ${kind} of ${parameters.toLocaleString("en-US")} parameters${ternary}${trained}${drawn}.`;
}
