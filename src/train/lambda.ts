/**
 * What a step sets in a model's layers, and takes back behind it: progressive quantization, layer by layer, and the share of
 * the run that is done. The one place where the trainer moves them.
 */
import type { LayerQuantization } from "../nn/index.ts";
import { UsageError } from "../platform/errors.ts";
import type { StepQuantization } from "./progressive/progressive.ts";
import type { TrainableModel } from "./trainable-model.ts";

/** By the layer's name, such as `model.layers.0.mlp.down_proj`. */
export type QuantizationOf = (layer: string) => LayerQuantization;

/** The layer of a weight: its name without `.weight`. */
export const layerNameOf = ({ name }: { readonly name: string }): string => name.replace(/\.weight$/, "");

export const layerNames = ({ quantizedLayers, ternaryLayers }: TrainableModel): string[] =>
  quantizedLayers?.map(({ name }) => name) ?? ternaryLayers.map(({ weight }) => layerNameOf(weight));

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

/**
 * Runs the forward and backward of a step with the layers quantized so (null: wholly), at the share of the run that is done
 * before it. What is measured, written and saved meanwhile is the whole model, at 1.
 *
 * @throws UsageError for a model that cannot
 */
export async function atStep<T>(
  model: TrainableModel,
  { quantizationOf, progress }: { quantizationOf: QuantizationOf | null; progress: number },
  body: () => Promise<T>,
): Promise<T> {
  if (quantizationOf && !model.setQuantization)
    throw new UsageError("training: this model cannot be quantized by degrees");
  if (quantizationOf) model.setQuantization?.(quantizationOf);
  model.setProgress?.(progress);
  try {
    return await body();
  } finally {
    if (quantizationOf) model.setQuantization?.(null);
    model.setProgress?.(1);
  }
}
