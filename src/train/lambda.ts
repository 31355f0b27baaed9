/** Progressive quantization of a step, layer by layer: the one place where the trainer moves it in a model. */
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
