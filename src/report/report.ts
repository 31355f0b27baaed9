/** A report as JSON, made of measurements: summary, comparison, thresholds, provenance. html.ts and markdown.ts draw it. */
import { planModel } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { type Comparison, compare, configDifferences, trainingCaveats } from "./compare.ts";
import { noiseRule, thresholds } from "./interpret.ts";
import type { ModelMeasurement } from "./measurement.ts";
import { summarize } from "./summary.ts";

export interface Report {
  format: "bitnet.ts report";
  version: 1;
  title: string;
  createdMs: number;
  /** How it was made: the command. */
  command: string;
  /** The executive summary, a sentence each. */
  summary: string[];
  comparison: Comparison;
  /** Each model after the first two, against the same baseline. */
  others: Comparison[];
  thresholds: { word: string; fromPercent: number | null }[];
  noiseRule: string;
  /** What was not the same in the configs of the two trainings. */
  configDifferences: { key: string; a: unknown; b: unknown }[];
  notes: string[];
  models: ModelMeasurement[];
}

export interface ReportOptions {
  title?: string;
  createdMs: number;
  command: string;
}

/**
 * The first model with ternary layers is compared with the first full-precision one; where there is none of a kind, the first model with
 * the second. One model alone is reported without deltas, and says so.
 *
 * @throws UsageError for no model, or two of one name
 */
export function buildReport(models: readonly ModelMeasurement[], options: ReportOptions): Report {
  if (models.length === 0) throw new UsageError("report: there is no run to report on");
  const names = models.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UsageError(`report: two models are called "${twice}"; give each a name of its own`);
  const [a, b] = pairOf(models);
  const rest = models.filter((model) => model !== a && model !== b);
  const comparison = compare(a, b);
  return {
    format: "bitnet.ts report",
    version: 1,
    title: options.title ?? (b ? `${a.name} and ${b.name}` : a.name),
    createdMs: options.createdMs,
    command: options.command,
    summary: summarize(comparison, models),
    comparison,
    others: rest.map((model) => {
      const other = compare(model, b ?? a);
      // What was said of the first pair is said.
      return { ...other, caveats: other.caveats.filter((caveat) => !comparison.caveats.includes(caveat)) };
    }),
    thresholds: thresholds.map(({ word, fromPercent }) => ({
      word,
      fromPercent: Number.isFinite(fromPercent) ? fromPercent : null,
    })),
    noiseRule,
    configDifferences: b ? configDifferences(a.training?.config, b.training?.config) : [],
    notes: [...notesOf(models), ...(b ? [] : trainingCaveats(a))],
    // The pair first: charts give them the first colours.
    models: [a, ...(b ? [b] : []), ...rest],
  };
}

/** What several models say in the same words is said once. */
function notesOf(models: readonly ModelMeasurement[]): string[] {
  const said = new Map<string, string[]>();
  for (const { name, notes } of models) for (const note of notes) said.set(note, [...(said.get(note) ?? []), name]);
  return [...said].map(([note, names]) => `${names.join(", ")}: ${note}`);
}

function pairOf(models: readonly ModelMeasurement[]): [ModelMeasurement, ModelMeasurement | null] {
  const bitnet = models.find(({ config }) => planModel(config).anyTernary);
  const full = models.find(({ config }) => !planModel(config).anyTernary);
  if (bitnet && full) return [bitnet, full];
  return [models[0], models[1] ?? null];
}
