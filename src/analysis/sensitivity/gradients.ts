/**
 * What a layer's quantization costs by the gradient of the loss at the float weights, without measuring it:
 *
 *   first order  |mean over sequences of sum g (Q(w) - w)|      the linear term of the loss's Taylor series
 *   Fisher       mean over sequences of sum g² (Q(w) - w)²      g² for the diagonal of the Hessian (empirical Fisher)
 *
 * g is the gradient of a sequence's mean loss, of the model with no layer quantized (lambda 0). HAWQ-V2 (arXiv:1911.03852)
 * has the Hessian's trace in place of g². Only weights are looked at: rounding of inputs is not in these scores.
 */
import { matrixOf } from "../../exchange/matrix.ts";
import type { Transformer } from "../../model/index.ts";
import type { LinearLayer } from "../../nn/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import type { Sample } from "../sample.ts";

/** Of one layer: each sequence's sums. */
export interface GradientScores {
  /** sum g (Q(w) - w) */
  firstOrder: number[];
  /** sum g² (Q(w) - w)² */
  fisher: number[];
}

/** Q(w) - w of all layers is kept, where it takes no more. */
const maxKeptBytes = 2 ** 28;

/**
 * Sets every layer's lambda to 0. Parameters other than the layers' weights are frozen meanwhile, and gradients are dropped
 * at the end.
 *
 * @param layers those to score
 */
export async function scoreByGradients(
  model: Transformer,
  layers: readonly LinearLayer[],
  sample: Sample,
  { signal, onSequence }: { signal?: AbortSignal; onSequence?: (done: number) => void } = {},
): Promise<Map<string, GradientScores>> {
  const { runtime, parameters } = model;
  const scored = new Set(layers.map(({ weight }) => weight));
  const frozen = new Map(parameters.map((parameter) => [parameter, parameter.frozen]));
  const keep = layers.reduce((sum, { weight }) => sum + 4 * weight.size, 0) <= maxKeptBytes;
  const kept = new Map<LinearLayer, Float32Array>();
  const changeOf = async (layer: LinearLayer): Promise<Float32Array> => {
    const before = kept.get(layer);
    if (before) return before;
    const change = await quantizationChange(model, layer);
    if (keep) kept.set(layer, change);
    return change;
  };
  const scores = new Map<string, GradientScores>(layers.map(({ name }) => [name, { firstOrder: [], fisher: [] }]));
  model.setLambda(0);
  try {
    for (const parameter of parameters) parameter.setFrozen(!scored.has(parameter));
    for (let i = 0; i < sample.count; i++) {
      signal?.throwIfAborted();
      await nextTurn();
      const input = { tokens: sample.tokens(i), batch: 1, length: sample.sequence };
      runtime.gradient(() => model.loss(input, sample.targets(i)).loss).dispose();
      for (const layer of layers) {
        const gradient = await runtime.readFloats(layer.weight.gradient);
        const change = await changeOf(layer);
        let [first, second] = [0, 0];
        for (let k = 0; k < change.length; k++) {
          const step = gradient[k] * change[k];
          first += step;
          second += step * step;
        }
        const { firstOrder, fisher } = scores.get(layer.name)!;
        firstOrder.push(first);
        fisher.push(second);
        layer.weight.clearGradient();
      }
      onSequence?.(i + 1);
    }
    return scores;
  } finally {
    // Freezing drops the gradients' memory.
    for (const [parameter, was] of frozen) {
      parameter.setFrozen(true);
      parameter.setFrozen(was);
    }
    model.setLambda(1);
  }
}

/** Q(w) - w [N · K]; zeros where the weights have no quantizer. */
export async function quantizationChange(model: Transformer, layer: LinearLayer): Promise<Float32Array> {
  const weights = await model.runtime.readFloats(layer.weight.tensor);
  const matrix = await matrixOf(model, layer.weight);
  const change = new Float32Array(weights.length);
  for (let k = 0; k < change.length; k++)
    change[k] =
      (matrix instanceof Float32Array ? matrix[k] : Math.fround((matrix.codes[k] - 1) * matrix.scale)) - weights[k];
  return change;
}
