/**
 * How much each layer's quantization costs, on a text (docs/sensitivity.md):
 *
 *   leave one out  loss(only this layer quantized) - loss(no layer quantized): the rise
 *   put one back   loss(all layers quantized) - loss(all but this layer quantized): the fall
 *   first order, Fisher   by gradients alone (gradients.ts)
 *
 * A layer that is quantized has its weights and its input rounded, as in its plan. Losses are set apart by sequence, so that
 * each difference has a standard error. Called by cli/.
 */
import type { TokenStream } from "../../data/index.ts";
import { describePlan, type Transformer } from "../../model/index.ts";
import { UsageError } from "../../platform/errors.ts";
import {
  differenceOf,
  type LossOfSample,
  lossOf,
  type Measured,
  meanOf,
  type Sample,
  type SampleOptions,
  scoreSample,
  takeSample,
} from "../sample.ts";
import type { WindowScore } from "../text.ts";
import { scoreByGradients } from "./gradients.ts";
import { groupLayers, type LayerGroup, type SensitivityGroup } from "./groups.ts";
import { createProbe } from "./probe.ts";
import { ranksOf, spearman } from "./ranks.ts";

export const sensitivityMeasures = ["leave-one-out", "put-one-back", "first-order", "fisher"] as const;
export type SensitivityMeasure = (typeof sensitivityMeasures)[number];

export interface SensitivityOptions extends SampleOptions {
  /** What is measured together. Default: layer. */
  group?: SensitivityGroup;
  /** Default: all four. */
  measures?: readonly SensitivityMeasure[];
  /** A weight quantizer to measure as if all layers had it; by default the layers' own, absmean for a model without any. */
  quantizer?: string;
  signal?: AbortSignal;
  /** Passes over the sample that are done, of how many. */
  onProgress?: (done: number, total: number, what: string) => void;
}

/** In nats per token, but for Fisher's, which is nats² over 1. */
export interface SensitivityScore extends Measured {
  /** 1: the most sensitive by this measure. Groups with one value share a rank. */
  rank: number;
}

export interface SensitivityRow {
  name: string;
  layers: string[];
  /** Weights of its layers. */
  weights: number;
  scores: Partial<Record<SensitivityMeasure, SensitivityScore>>;
}

export interface Sensitivity {
  /** The quantizer that was measured as if the layers had it; null: their own. */
  asIf: string | null;
  /** The layers as they were measured, in words. */
  plan: string;
  group: SensitivityGroup;
  measures: SensitivityMeasure[];
  /** Of text and tokenizer. */
  identity: string;
  sequence: number;
  sequences: number;
  tokens: number;
  /** No layer quantized. */
  float: LossOfSample;
  /** All of them. */
  quantized: LossOfSample;
  /** quantized - float */
  rise: Measured;
  /** By the first of the measures, the most sensitive first. */
  rows: SensitivityRow[];
  /** Spearman's rank correlation of each other measure with the first; null for fewer than three groups. */
  agreement: Partial<Record<SensitivityMeasure, number | null>>;
}

/**
 * Passes over the sample: 2, and 1 for each group and measured loss; the gradients together about 3.
 *
 * @throws DataError for a text shorter than a sequence; UnsupportedError for layers without float weights; UsageError
 */
export async function measureSensitivity(
  model: Transformer,
  stream: TokenStream,
  options: SensitivityOptions = {},
): Promise<Sensitivity> {
  const { group = "layer", quantizer, signal, onProgress } = options;
  const measures = checkMeasures(options.measures ?? sensitivityMeasures);
  const sample = takeSample(model, stream, options);
  const probe = await createProbe(model, quantizer);
  try {
    const { model: probed } = probe;
    const layers = probed.quantizedLayers;
    const groups = groupLayers(probed, new Set(layers.map(({ name }) => name)), group);
    const measured = measures.filter((measure) => measure === "leave-one-out" || measure === "put-one-back");
    const byGradients = measures.length > measured.length;
    const total = 2 + measured.length * groups.length + (byGradients ? 3 : 0);
    let done = 0;
    const lossAt = async (lambda: (name: string) => number, what: string): Promise<WindowScore[]> => {
      onProgress?.(done, total, what);
      probed.setLambda(lambda);
      const scores = await scoreSample(probed, sample, signal);
      done++;
      return scores;
    };
    const float = await lossAt(() => 0, "no layer quantized");
    const quantized = await lossAt(() => 1, "all layers quantized");
    const found = new Map<SensitivityMeasure, Measured[]>();
    for (const measure of measured) {
      const list: Measured[] = [];
      for (const { name, layers: own } of groups) {
        const inside = new Set(own);
        const alone = measure === "leave-one-out";
        const scores = await lossAt((layer) => (inside.has(layer) === alone ? 1 : 0), `${measure}: ${name}`);
        list.push(alone ? differenceOf(scores, float) : differenceOf(quantized, scores));
      }
      found.set(measure, list);
    }
    if (byGradients) {
      const onSequence = (n: number) => onProgress?.(done + (3 * n) / sample.count, total, "gradients");
      const scores = await scoreByGradients(probed, layers, sample, { signal, onSequence });
      const sumOf = (own: LayerGroup, of: "firstOrder" | "fisher") =>
        Array.from({ length: sample.count }, (_, i) =>
          own.layers.reduce((sum, name) => sum + scores.get(name)![of][i], 0),
        );
      if (measures.includes("first-order"))
        found.set(
          "first-order",
          groups.map((own) => {
            const { value, standardError } = meanOf(sumOf(own, "firstOrder"));
            return { value: Math.abs(value), standardError };
          }),
        );
      if (measures.includes("fisher"))
        found.set(
          "fisher",
          groups.map((own) => meanOf(sumOf(own, "fisher"))),
        );
    }
    return {
      asIf: probe.asIf,
      plan: describePlan(probed.plan),
      group,
      measures,
      identity: sample.identity,
      sequence: sample.sequence,
      sequences: sample.count,
      tokens: tokensOf(sample),
      float: lossOf(float),
      quantized: lossOf(quantized),
      rise: differenceOf(quantized, float),
      ...ranked(probed, groups, measures, found),
    };
  } finally {
    probe.model.setLambda(1);
    probe.dispose();
  }
}

const tokensOf = (sample: Sample): number => sample.count * sample.sequence;

function ranked(
  model: Transformer,
  groups: readonly LayerGroup[],
  measures: readonly SensitivityMeasure[],
  found: ReadonlyMap<SensitivityMeasure, readonly Measured[]>,
): Pick<Sensitivity, "rows" | "agreement"> {
  const valuesOf = (measure: SensitivityMeasure) => found.get(measure)!.map(({ value }) => value);
  const ranks = new Map(measures.map((measure) => [measure, ranksOf(valuesOf(measure))]));
  const rows = groups.map(({ name, layers }, i): SensitivityRow => {
    const scores = measures.map((measure) => [measure, { ...found.get(measure)![i], rank: ranks.get(measure)![i] }]);
    const weights = layers.reduce((sum, layer) => sum + model.byWeight.get(`${layer}.weight`)!.weight.size, 0);
    return { name, layers, weights, scores: Object.fromEntries(scores) };
  });
  const [first, ...others] = measures;
  rows.sort((a, b) => b.scores[first]!.value - a.scores[first]!.value);
  const agreement = Object.fromEntries(
    others.map((measure) => [measure, spearman(valuesOf(first), valuesOf(measure))]),
  );
  return { rows, agreement };
}

function checkMeasures(measures: readonly SensitivityMeasure[]): SensitivityMeasure[] {
  const unknown = measures.find((measure) => !sensitivityMeasures.includes(measure));
  if (unknown !== undefined)
    throw new UsageError(`unknown measure "${unknown}"; measures are: ${sensitivityMeasures.join(", ")}`);
  const chosen = [...new Set(measures)];
  if (chosen.length === 0)
    throw new UsageError(`no measure was named; measures are: ${sensitivityMeasures.join(", ")}`);
  return chosen;
}
