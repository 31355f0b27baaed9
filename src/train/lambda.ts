/** Progressive quantization of a step, layer by layer: the one place where the trainer moves it in a model. */
import type { LayerQuantization } from "../nn/index.ts";
import { UsageError } from "../platform/errors.ts";
import type { StepQuantization } from "./progressive/progressive.ts";
import type { TrainableModel } from "./trainable-model.ts";

/** By the layer's name, such as `model.layers.0.mlp.down_proj`. */
export type QuantizationOf = (layer: string) => LayerQuantization;

export const layerNames = ({ quantizedLayers, ternaryLayers }: TrainableModel): string[] =>
  quantizedLayers?.map(({ name }) => name) ?? ternaryLayers.map(({ weight }) => weight.name.replace(/\.weight$/, ""));

/**
 * Runs a step's forward and backward with the layers quantized so; null: wholly. What is measured, written and saved
 * meanwhile is the whole model.
 *
 * @throws UsageError for a model that cannot
 */
export async function withQuantization<T>(
  model: TrainableModel,
  of: QuantizationOf | null,
  body: () => Promise<T>,
): Promise<T> {
  if (!of) return body();
  if (!model.setQuantization) throw new UsageError("training: this model cannot be quantized by degrees");
  model.setQuantization(of);
  try {
    return await body();
  } finally {
    model.setQuantization(null);
  }
}

/** What is logged of a step: lambda as a mean over layers, and the numbers of the kind. */
export function quantizationFacts(
  model: TrainableModel,
  of: QuantizationOf | null,
  scheduled: StepQuantization | undefined,
): { quantLambda?: number; quantization?: Readonly<Record<string, number>> } {
  if (!of) return {};
  const lambdas = layerNames(model).map((name) => of(name).lambda);
  const same = lambdas.every((lambda) => lambda === lambdas[0]);
  const quantLambda = same ? (lambdas[0] ?? 1) : lambdas.reduce((sum, lambda) => sum + lambda, 0) / lambdas.length;
  return { quantLambda, ...(scheduled?.metrics ? { quantization: scheduled.metrics } : {}) };
}
