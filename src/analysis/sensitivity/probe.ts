/**
 * The model that sensitivity is measured on: the model itself where its layers quantize, else a copy that does so as if; of
 * layers with an estimator a copy without, so that gradients are true ones. Which layers are quantized is then set by lambda:
 * at 0 a layer is the float layer, to the bit.
 */
import {
  checkLatent,
  type ModelConfig,
  type QuantizationConfig,
  requantize,
  type Transformer,
} from "../../model/index.ts";
import { UsageError } from "../../platform/errors.ts";

export interface Probe {
  model: Transformer;
  /** The quantizer of a model that is measured as if it had it; null where the layers have their own. */
  asIf: string | null;
  /** What the copy's config says of quantizers; undefined: what the model's says. */
  quantization: QuantizationConfig | undefined;
  /** Frees a copy. */
  dispose(): void;
}

/**
 * @param weights a quantizer to measure as if every layer had it; absent: the layers' own, or absmean where none has one
 * @throws UnsupportedError for layers whose float weights are not there; UsageError for an unknown quantizer
 */
export async function createProbe(model: Transformer, weights?: string): Promise<Probe> {
  const { config, plan } = model;
  if (weights === "none") throw new UsageError('quantizer "none" quantizes nothing; name absmean, int8 or another');
  const asIf = weights ?? (plan.layers.every((layer) => !layer.weights) ? "absmean" : null);
  if (asIf === null) for (const layer of model.ternaryLayers) await checkLatent(layer, model);
  const quantization = asIf === null ? withoutEstimators(config) : { weights: asIf };
  const copied = asIf !== null || plan.layers.some(({ estimator }) => estimator.estimator.op);
  if (!copied) return { model, asIf, quantization: config.quantization, dispose() {} };
  const made = await requantize(model, { ...config, quantization });
  return { model: made, asIf, quantization, dispose: () => made.dispose() };
}

function withoutEstimators({ quantization }: ModelConfig): QuantizationConfig | undefined {
  if (!quantization) return undefined;
  const { estimator: _all, overrides, ...rest } = quantization;
  return {
    ...rest,
    ...(overrides ? { overrides: overrides.map(({ estimator: _own, ...override }) => override) } : {}),
  };
}
