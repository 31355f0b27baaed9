/**
 * What a step sets in a model's layers, and takes back behind it: progressive quantization, layer by layer, and the share of
 * the run that is done. The one place where the trainer moves them.
 */
import { UsageError } from "../platform/errors.ts";
import type { TrainableModel } from "./trainable-model.ts";

/** 0: nothing of this layer is quantized, 1: all is. By the layer's name, such as `model.layers.0.mlp.down_proj`. */
export type LambdaOf = (layer: string) => number;

/** The layer of a weight: its name without `.weight`. */
export const layerNameOf = ({ name }: { readonly name: string }): string => name.replace(/\.weight$/, "");

export const layerNames = ({ quantizedLayers, ternaryLayers }: TrainableModel): string[] =>
  quantizedLayers?.map(({ name }) => name) ?? ternaryLayers.map(({ weight }) => layerNameOf(weight));

/** null: whole, in every layer. @throws UsageError for a model that cannot */
export function setLambda(model: TrainableModel, lambdaOf: LambdaOf | null): void {
  if (model.setLambda) model.setLambda(lambdaOf ?? 1);
  else if (lambdaOf) throw new UsageError("training: this model cannot be quantized by degrees");
}

/**
 * Runs the forward and backward of a step at its lambdas (null: whole) and at the share of the run that is done before it;
 * what is measured, written and saved meanwhile is the model at 1.
 */
export async function atStep<T>(
  model: TrainableModel,
  { lambdaOf, progress }: { lambdaOf: LambdaOf | null; progress: number },
  body: () => Promise<T>,
): Promise<T> {
  if (lambdaOf) setLambda(model, lambdaOf);
  model.setProgress?.(progress);
  try {
    return await body();
  } finally {
    if (lambdaOf) setLambda(model, null);
    model.setProgress?.(1);
  }
}
