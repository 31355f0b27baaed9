/**
 * A model with the same weights under another config: other quantizers for some layers, or for all. For what measures a
 * model as it would be (analysis/), and for overrides that are given beside a model (exchange/overrides-file.ts). Training
 * is not here: a layer whose quantizer changes computes something else until it is trained on.
 */
import { UnsupportedError } from "../platform/errors.ts";
import { copy } from "../ops/add/index.ts";
import { hasTernaryWeights, type LinearLayer } from "../nn/index.ts";
import type { ModelConfig } from "./config.ts";
import type { QuantizationConfig } from "./quantization.ts";
import { Transformer } from "./transformer.ts";

/** The config with other choices laid over its own; overrides come behind those that it has, so they decide. */
export function withQuantization(config: ModelConfig, changes: QuantizationConfig): ModelConfig {
  const { overrides = [], ...all } = config.quantization ?? {};
  const { overrides: more = [], ...others } = changes;
  const list = [...overrides, ...more];
  return { ...config, quantization: { ...all, ...others, ...(list.length > 0 ? { overrides: list } : {}) } };
}

/**
 * A second model on the same runtime, the caller's to dispose of.
 *
 * @throws UsageError for overrides that match no layer or that a layer cannot have; UnsupportedError for a layer whose
 *         float weights are not there (packed files)
 */
export async function requantize(model: Transformer, config: ModelConfig): Promise<Transformer> {
  const { runtime } = model;
  const made = new Transformer(runtime, config, null);
  try {
    for (const layer of model.ternaryLayers) {
      const other = made.byWeight.get(layer.weight.name);
      const [before, after] = [layer.spec.weights, other?.spec.weights];
      const same =
        before?.quantizer === after?.quantizer && JSON.stringify(before?.settings) === JSON.stringify(after?.settings);
      if (!same) await checkLatent(layer, model);
    }
    const had = new Map(model.parameters.map((parameter) => [parameter.name, parameter]));
    const missing = new Set<string>();
    for (const parameter of made.parameters) {
      const from = had.get(parameter.name);
      if (!from || String(from.shape) !== String(parameter.shape)) {
        missing.add(parameter.name);
        continue;
      }
      copy(runtime.plainContext(), parameter.tensor, from.tensor);
      parameter.changed();
    }
    // What the new quantizers learn begins as it does in a run that starts from these weights.
    for (const layer of made.linearLayers) {
      layer.forgetQuantized();
      await layer.initializeLearned(runtime, (name) => missing.has(name));
    }
    return made;
  } catch (error) {
    made.dispose();
    throw error;
  }
}

/** Weights that a packed file gave have one size, or two neighbors (quant/ternary.ts): float weights have many. */
const mostPackedSizes = 2;

/**
 * Whether the float weights behind a layer's ternary ones are there: not in a model that came from a packed file, unless its
 * weights are the ternary ones themselves, which lose nothing.
 *
 * @throws UnsupportedError naming the layer
 */
export async function checkLatent(layer: LinearLayer, { runtime }: Pick<Transformer, "runtime">): Promise<void> {
  if (!hasTernaryWeights(layer.spec)) return;
  const weights = await runtime.readFloats(layer.weight.tensor);
  const sizes = new Set<number>();
  for (const w of weights) {
    if (w !== 0) sizes.add(Math.abs(w));
    if (sizes.size > mostPackedSizes) return;
  }
  const { codes, scale } = layer.quantized(runtime);
  const [s] = await runtime.readFloats(scale);
  const q = await runtime.read(codes);
  if (weights.every((w, i) => w === Math.fround((q[i] - 1) * s))) return;
  throw new UnsupportedError(
    `layer ${layer.name}: its float weights are not there, only the ternary ones of a packed file (GGUF, compact, packed Hugging Face); take the checkpoint that it was made of`,
  );
}
