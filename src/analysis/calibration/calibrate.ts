/**
 * A model's inputs and scales on a sample of a text, and what other scales would cost (docs/calibration.md). The first half of
 * the sample is what statistics, scales and the temperature are taken from; every loss is of the second half, which they have
 * not seen. Called by cli/.
 */
import type { TokenStream } from "../../data/index.ts";
import {
  describePlan,
  type QuantizationConfig,
  requantize,
  shortName,
  type Transformer,
  withQuantization,
} from "../../model/index.ts";
import { UnsupportedError, UsageError } from "../../platform/errors.ts";
import {
  differenceOf,
  type LossOfSample,
  lossOf,
  type Measured,
  partOf,
  type Sample,
  type SampleOptions,
  scoreSample,
  takeSample,
} from "../sample.ts";
import type { WindowScore } from "../text.ts";
import { type InputStatistics, type ObservedInput, observeStatistics } from "./statistics.ts";
import { atTemperature, fitTemperature } from "./temperature.ts";
import { leastSquaresScales, type MatrixScale, ternarize, withScales } from "./ternarize.ts";
import { clippedPercentile, scaleOfThreshold, type StaticMethod, staticMethods, thresholdOf } from "./thresholds.ts";

export interface CalibrateOptions extends SampleOptions {
  /** Rules for fixed input scales to try. Default: all. */
  methods?: readonly StaticMethod[];
  /** Make a full-precision model ternary first, by this quantizer, and calibrate that. */
  ternarize?: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number, what: string) => void;
}

/** The held-out loss of the model with one thing changed. */
export interface Effect {
  loss: LossOfSample;
  /** Less that of the model it is compared with. */
  difference: Measured;
}

export interface StaticScales extends Effect {
  method: StaticMethod;
  /** Where each input is clipped, and its scale. */
  inputs: { layers: string[]; threshold: number; scale: number }[];
  /** For an overrides file. */
  quantization: QuantizationConfig;
}

export interface CalibrationResult {
  /** The quantizer that made it ternary first; null: the model as it is. */
  ternarized: string | null;
  /** The model that was calibrated, in words. */
  plan: string;
  identity: string;
  sequence: number;
  /** What was observed and fitted to, and what was held out. */
  sequences: { fit: number; heldOut: number };
  tokens: { fit: number; heldOut: number };
  /** Of the full-precision model, where it was made ternary. */
  full: LossOfSample | null;
  /** Of the model as it is (ternarized, if asked for); difference: to the full-precision one, else 0. */
  model: Effect;
  /** Of each input, in the model's order. */
  inputs: InputStatistics[];
  /** No input rounded, against the model. */
  floatInputs: Effect;
  /** One scale for each token by its largest, in front of the layers that static scales are tried on; against the model. */
  dynamic: Effect;
  /** Fixed scales, against dynamic ones. */
  static: StaticScales[];
  /** Least-squares scales of the ternary matrices, against the model; null where there are none, with the reason. */
  leastSquares: (Effect & { matrices: MatrixScale[] }) | null;
  leastSquaresReason: string | null;
  /** T, and its effect against the model. */
  temperature: Effect & { temperature: number };
  /** Least squares and temperature together, against the model; null likewise. */
  both: (Effect & { temperature: number }) | null;
}

/** Sequences: one to fit to, one to hold out. */
const leastSequences = 2;

/**
 * @throws DataError for a text shorter than two sequences; UsageError for a ternarization that the model cannot have
 */
export async function calibrate(
  model: Transformer,
  stream: TokenStream,
  options: CalibrateOptions = {},
): Promise<CalibrationResult> {
  const { methods = staticMethods, signal, onProgress } = options;
  const unknown = methods.find((method) => !staticMethods.includes(method));
  if (unknown !== undefined)
    throw new UsageError(`unknown method "${unknown}" for static scales; methods are: ${staticMethods.join(", ")}`);
  const sample = takeSample(model, stream, options, leastSequences);
  const half = Math.floor(sample.count / 2);
  const [fit, heldOut] = [partOf(sample, 0, half), partOf(sample, half, sample.count)];
  const total = 7 + methods.length;
  let done = 0;
  const begin = (what: string) => onProgress?.(done++, total, what);
  const scoresOf = (one: Transformer) => scoreSample(one, heldOut, signal);
  const own: Transformer[] = [];
  const keep = (one: Transformer) => {
    own.push(one);
    return one;
  };
  /** A model that lives as long as it is scored. */
  const scoresWith = async (subject: Transformer, quantization: QuantizationConfig): Promise<WindowScore[]> => {
    const made = await requantize(subject, withQuantization(subject.config, quantization));
    try {
      return await scoresOf(made);
    } finally {
      made.dispose();
    }
  };
  try {
    begin("the model");
    const full = options.ternarize === undefined ? null : await scoresOf(model);
    const subject = options.ternarize === undefined ? model : keep(await ternarize(model, options.ternarize));
    const base = await scoresOf(subject);
    const effect = (scores: WindowScore[], against = base): Effect => ({
      loss: lossOf(scores),
      difference: differenceOf(scores, against),
    });
    begin("inputs");
    const observed = await observeFloat(subject, fit, signal);
    begin("float inputs");
    const floatInputs = await scoresWith(subject, everyInput("none"));
    const rounded = roundedLayers(subject);
    begin("dynamic scales");
    const dynamic = rounded.dynamic ? base : await scoresWith(subject, dynamicScales(rounded.names));
    const found: StaticScales[] = [];
    for (const method of methods) {
      begin(`static scales: ${method}`);
      const scales = staticScalesOf(method, observed, rounded.names);
      const scores = await scoresWith(subject, scales.quantization);
      found.push({ ...scales, ...effect(scores, dynamic) });
    }
    begin("least-squares scales");
    const { matrices, reason } = await scalesOf(subject);
    const scaled = matrices ? keep(await withScales(subject, matrices)) : null;
    const leastSquares = scaled && matrices ? { ...effect(await scoresOf(scaled)), matrices } : null;
    const atBest = async (one: Transformer) => {
      const temperature = await fitTemperature(one, fit, signal);
      return { temperature, ...effect(await atTemperature(one, temperature, () => scoresOf(one))) };
    };
    begin("temperature");
    const temperature = await atBest(subject);
    begin("both");
    const both = scaled ? await atBest(scaled) : null;
    return {
      ternarized: options.ternarize ?? null,
      plan: describePlan(subject.plan),
      identity: sample.identity,
      sequence: sample.sequence,
      sequences: { fit: fit.count, heldOut: heldOut.count },
      tokens: { fit: fit.count * sample.sequence, heldOut: heldOut.count * sample.sequence },
      full: full && lossOf(full),
      model: full ? effect(base, full) : effect(base),
      inputs: observed.map(({ statistics }) => statistics),
      floatInputs: effect(floatInputs),
      dynamic: effect(dynamic),
      static: found,
      leastSquares,
      leastSquaresReason: reason,
      temperature,
      both,
    };
  } finally {
    for (const one of own) one.dispose();
  }
}

/** One activation quantizer for all layers, whatever the config says of single ones. */
const everyInput = (activations: string): QuantizationConfig => ({ overrides: [{ layers: "*", activations }] });

async function observeFloat(model: Transformer, sample: Sample, signal?: AbortSignal): Promise<ObservedInput[]> {
  const probe = await requantize(model, withQuantization(model.config, everyInput("none")));
  try {
    return await observeStatistics(probe, sample, { percentile: clippedPercentile, signal });
  } finally {
    probe.dispose();
  }
}

/** The layers that round their input, or, of a model without any, all of them as if they did. */
function roundedLayers({ plan }: Transformer): { names: ReadonlySet<string>; dynamic: boolean } {
  const own = plan.layers.filter(({ activations }) => activations);
  const names = new Set((own.length > 0 ? own : plan.layers).map(({ name }) => name));
  return { names, dynamic: own.length > 0 && own.every(({ activations }) => activations!.name === "absmax8") };
}

const dynamicScales = (names: ReadonlySet<string>): QuantizationConfig => ({
  overrides: [...names].map((name) => ({ layers: shortName(name), activations: "absmax8" })),
});

function staticScalesOf(
  method: StaticMethod,
  observed: readonly ObservedInput[],
  names: ReadonlySet<string>,
): Pick<StaticScales, "method" | "inputs" | "quantization"> {
  const inputs = observed.flatMap(({ statistics, histogram, percentile }) => {
    const layers = statistics.layers.filter((name) => names.has(name));
    if (layers.length === 0) return [];
    const threshold = thresholdOf(method, histogram, percentile);
    return [{ layers, threshold, scale: scaleOfThreshold(threshold) }];
  });
  const overrides = inputs.flatMap(({ layers, scale }) =>
    layers.map((name) => ({ layers: shortName(name), activations: { name: "static8", scale } })),
  );
  return { method, inputs, quantization: { overrides } };
}

async function scalesOf(model: Transformer): Promise<{ matrices: MatrixScale[] | null; reason: string | null }> {
  if (!model.plan.anyTernary) return { matrices: null, reason: "the model has no ternary weights" };
  try {
    return { matrices: await leastSquaresScales(model), reason: null };
  } catch (error) {
    if (error instanceof UnsupportedError) return { matrices: null, reason: error.message };
    throw error;
  }
}
