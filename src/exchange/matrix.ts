/** A parameter as the model multiplies with it: what file formats write, never the latent weights behind a quantizer. */
import type { LayerPlan, ModelPlan, Transformer } from "../model/index.ts";
import { UnsupportedError } from "../platform/errors.ts";
import type { Parameter } from "../tensor/index.ts";

/** Ternary codes (q + 1) and their scale, or floats. */
export type Matrix = { codes: Uint8Array; scale: number } | Float32Array;

/** Codes and scale of ternary layers, the values of layers with another quantizer, all else as it is. */
export async function matrixOf(
  model: Transformer,
  { name, tensor }: Pick<Parameter, "name" | "tensor">,
): Promise<Matrix> {
  const { runtime } = model;
  const quantized = model.byWeight.get(name)?.quantizedWeight(runtime);
  if (!quantized) return runtime.readFloats(tensor);
  if ("values" in quantized) return runtime.readFloats(quantized.values);
  const { codes, scale } = quantized;
  return { codes: (await runtime.read(codes)) as Uint8Array, scale: (await runtime.readFloats(scale))[0] };
}

/** The values of a parameter that has no ternary weights. */
export async function valuesOf(
  model: Transformer,
  parameter: Pick<Parameter, "name" | "tensor">,
): Promise<Float32Array> {
  const matrix = await matrixOf(model, parameter);
  if (matrix instanceof Float32Array) return matrix;
  throw new Error(`${parameter.name}: has ternary weights; its codes were to be read`);
}

/** Whether an ONNX graph can hold the layers: their inputs are floats or int8 codes. */
export const onnxHolds = ({ layers }: ModelPlan): boolean => layers.every(onnxHoldsInput);

export const onnxHoldsInput = ({ activations }: LayerPlan): boolean => !activations || activations.codes === "int8";

/**
 * For formats that hold ternary weights as latent ones, or make these again when they are read, by absmean.
 *
 * @throws UnsupportedError naming the layer whose ternary weights absmean does not make
 */
export function checkAbsmean(plan: ModelPlan, format: string): void {
  for (const { name, weights } of plan.layers) {
    const quantizer = weights?.quantizer;
    if (quantizer?.form === "ternary" && !quantizer.isAbsmean)
      throw new UnsupportedError(
        `${format}: layer ${name} is ternary by "${quantizer.name}"; this format holds absmean's only, ${onnxHolds(plan) ? "gguf and onnx hold" : "gguf holds"} any`,
      );
  }
}
