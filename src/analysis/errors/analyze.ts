/**
 * What quantization does to a model on a sample of a text: the error of each layer's weights and input, how the error of the
 * states behind the last layer builds up from layer to layer, and how far the logits are from those of the same latent weights
 * in float (docs/analysis.md). Called by cli/.
 */
import type { TokenStream } from "../../data/index.ts";
import { describePlan, requantize, type Transformer, withQuantization } from "../../model/index.ts";
import { hasTernaryWeights } from "../../nn/index.ts";
import {
  type QuantErrorMeasures,
  quantError,
  quantErrorMeasures,
  quantErrorPerSlot,
  quantErrorSums,
} from "../../ops/quant-error/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import type { Tensor } from "../../tensor/index.ts";
import { type InputStatistics, observeStatistics } from "../calibration/statistics.ts";
import { clippedPercentile } from "../calibration/thresholds.ts";
import {
  batchesOf,
  differenceOf,
  type LossOfSample,
  lossOf,
  type Measured,
  type Sample,
  type SampleOptions,
  scoreSample,
  takeSample,
} from "../sample.ts";
import { createProbe } from "../sensitivity/probe.ts";

export interface AnalyzeOptions extends SampleOptions {
  /** Measure as if every layer's weights had this quantizer. Default: the model's own; absmean for a full-precision model. */
  quantizer?: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number, what: string) => void;
}

export interface LayerAnalysis {
  name: string;
  /** Of the weights; null where they are not ternary. */
  weights: (QuantErrorMeasures & { scale: number }) | null;
  /** Of the layer's input as it is before it is rounded; layers that read one input have the same. */
  input: Pick<InputStatistics, "absmax" | "rms" | "kurtosis" | "peakToRms" | "sqnrDb">;
  /** ‖h - h₀‖² / ‖h₀‖² with this layer and all before it quantized: h behind the final norm, h₀ in float. */
  errorBehind: number;
  /** What this layer adds to that. */
  added: number;
  /** The same as a share of the error of the whole model; null where that is 0. */
  share: number | null;
}

export interface ErrorAnalysis {
  /** The quantizer it was measured as if it had; null: its own. */
  asIf: string | null;
  plan: string;
  identity: string;
  sequence: number;
  sequences: number;
  tokens: number;
  quantized: LossOfSample;
  float: LossOfSample;
  /** Loss of the quantized model, less that of the float one. */
  rise: Measured;
  logits: {
    /** Mean over tokens of KL(float ‖ quantized), in nats. */
    klNats: number;
    /** Share of tokens whose most likely next token is the same in both. */
    top1Agreement: number;
  };
  /** The last layer's `errorBehind`. */
  finalError: number;
  layers: LayerAnalysis[];
}

/** @throws DataError for a text that is too short; UnsupportedError where the float weights are not there */
export async function analyzeErrors(
  model: Transformer,
  stream: TokenStream,
  options: AnalyzeOptions = {},
): Promise<ErrorAnalysis> {
  const { signal, onProgress } = options;
  const sample = takeSample(model, stream, options);
  const { model: probe, asIf, dispose } = await createProbe(model, options.quantizer);
  try {
    const layers = probe.linearLayers;
    const total = layers.length + 4;
    const begin = (done: number, what: string) => onProgress?.(done, total, what);
    begin(0, "weights");
    const weights = await weightErrors(probe);
    begin(1, "inputs");
    const inputs = await inputsOf(probe, sample, signal);
    begin(2, "losses");
    const quantized = await scoreSample(probe, sample, signal);
    const float = await quantizedUpTo(probe, 0, () => scoreSample(probe, sample, signal));
    begin(3, "logits");
    const logits = await compareLogits(probe, sample, signal);
    const errors = await followErrors(probe, sample, (k) => begin(4 + k, layers[k].name), signal);
    const finalError = errors.at(-1) ?? 0;
    return {
      asIf,
      plan: describePlan(probe.plan),
      identity: sample.identity,
      sequence: sample.sequence,
      sequences: sample.count,
      tokens: sample.count * sample.sequence,
      quantized: lossOf(quantized),
      float: lossOf(float),
      rise: differenceOf(quantized, float),
      logits,
      finalError,
      layers: layers.map(({ name }, i) => {
        const added = errors[i] - (i === 0 ? 0 : errors[i - 1]);
        return {
          name,
          weights: weights.get(name) ?? null,
          input: inputs.get(name)!,
          errorBehind: errors[i],
          added,
          share: finalError === 0 ? null : added / finalError,
        };
      }),
    };
  } finally {
    dispose();
  }
}

/** Runs `body` with the first `count` layers quantized, the rest float. */
async function quantizedUpTo<T>(model: Transformer, count: number, body: () => Promise<T>): Promise<T> {
  const names = new Set(model.linearLayers.slice(0, count).map(({ name }) => name));
  model.setQuantization((name) => ({ lambda: names.has(name) ? 1 : 0 }));
  try {
    return await body();
  } finally {
    model.setQuantization(null);
  }
}

async function weightErrors(model: Transformer): Promise<Map<string, QuantErrorMeasures & { scale: number }>> {
  const { runtime } = model;
  const layers = model.linearLayers.filter(({ spec }) => hasTernaryWeights(spec));
  const found = new Map<string, QuantErrorMeasures & { scale: number }>();
  if (layers.length === 0) return found;
  const into = runtime.empty([layers.length * quantErrorPerSlot]);
  try {
    for (const [slot, layer] of layers.entries()) {
      const { codes, scale } = layer.quantized(runtime);
      quantError(runtime.plainContext(), { w: layer.weight.tensor, codes, scale }, { into, slot });
    }
    const read = await runtime.readFloats(into);
    for (const [i, layer] of layers.entries()) {
      const [scale] = await runtime.readFloats(layer.quantized(runtime).scale);
      found.set(layer.name, { scale, ...quantErrorMeasures(quantErrorSums(read, i), layer.weight.size, scale) });
    }
    return found;
  } finally {
    into.dispose();
  }
}

async function inputsOf(model: Transformer, sample: Sample, signal?: AbortSignal) {
  const overrides = [{ layers: "*", activations: "none" }];
  const float = await requantize(model, withQuantization(model.config, { overrides }));
  try {
    const observed = await observeStatistics(float, sample, { percentile: clippedPercentile, signal });
    return new Map(
      observed.flatMap(({ statistics: { layers, absmax, rms, kurtosis, peakToRms, sqnrDb } }) =>
        layers.map((name) => [name, { absmax, rms, kurtosis, peakToRms, sqnrDb }] as const),
      ),
    );
  } finally {
    float.dispose();
  }
}

async function readAndDispose({ runtime }: Transformer, tensor: Tensor): Promise<Float32Array> {
  try {
    return await runtime.readFloats(tensor);
  } finally {
    tensor.dispose();
  }
}

async function compareLogits(model: Transformer, sample: Sample, signal?: AbortSignal) {
  let [kl, same, tokens] = [0, 0, 0];
  // One sequence at a time: the logits of a batch are large.
  for (const { input } of batchesOf({ ...sample, batch: 1 })) {
    signal?.throwIfAborted();
    await nextTurn();
    const logitsOf = () => readAndDispose(model, model.logits(input));
    const quantized = await logitsOf();
    const float = await quantizedUpTo(model, 0, logitsOf);
    const width = float.length / input.tokens.length;
    for (let at = 0; at < float.length; at += width) {
      const row = compareRow(float.subarray(at, at + width), quantized.subarray(at, at + width));
      kl += row.kl;
      if (row.same) same++;
      tokens++;
    }
  }
  return { klNats: kl / tokens, top1Agreement: same / tokens };
}

/** KL(softmax a ‖ softmax b) in nats, and whether the largest of both stand in one place. */
export function compareRow(a: Float32Array, b: Float32Array): { kl: number; same: boolean } {
  const [top, other] = [indexOfLargest(a), indexOfLargest(b)];
  let [sumA, sumB, dot] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const p = Math.exp(a[i] - a[top]);
    sumA += p;
    sumB += Math.exp(b[i] - b[other]);
    dot += p * (a[i] - a[top] - (b[i] - b[other]));
  }
  return { kl: dot / sumA - Math.log(sumA) + Math.log(sumB), same: top === other };
}

function indexOfLargest(values: Float32Array): number {
  let at = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[at]) at = i;
  return at;
}

/** For each layer the relative squared error of the final states, with it and all before it quantized. */
async function followErrors(
  model: Transformer,
  sample: Sample,
  begin: (layer: number) => void,
  signal?: AbortSignal,
): Promise<number[]> {
  const statesWith = async (count: number) => {
    const states: Float32Array[] = [];
    for (const { input } of batchesOf(sample)) {
      signal?.throwIfAborted();
      await nextTurn();
      states.push(await quantizedUpTo(model, count, () => readAndDispose(model, model.hiddenStates(input))));
    }
    return states;
  };
  const float = await statesWith(0);
  const size = float.reduce((sum, part) => sum + part.reduce((s, x) => s + x * x, 0), 0);
  const errors: number[] = [];
  for (let k = 0; k < model.linearLayers.length; k++) {
    begin(k);
    let error = 0;
    for (const [i, part] of (await statesWith(k + 1)).entries())
      for (let j = 0; j < part.length; j++) error += (part[j] - float[i][j]) ** 2;
    errors.push(error / size);
  }
  return errors;
}
