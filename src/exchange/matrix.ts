/**
 * A model as it multiplies: what file formats write, never the latent weights behind a quantizer. Codes and a scale are the same
 * whichever quantizer made them, so a file that is read again holds ternary layers as absmean's: weights are made that absmean
 * rounds to the same codes and scale.
 */
import { huggingFaceScale } from "../checkpoint/hf-config.ts";
import type { ModelConfig, ModelPlan, Transformer } from "../model/index.ts";
import { learnedOf, type LinearLayer, type LinearSpec, weightQuantizers } from "../nn/index.ts";
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

export const onnxHoldsInput = ({ activations }: Pick<LinearSpec, "activations">): boolean =>
  !activations || activations.codes === "int8";

/** What files hold of a model: all but what quantizers learned, which is in the codes and scales. */
export const writtenParameters = ({ parameters }: Transformer): readonly Parameter[] =>
  parameters.filter(({ role }) => role !== "quantizer");

const isAbsmean = ({ weights }: Pick<LinearSpec, "weights">): boolean =>
  weights?.quantizer.form !== "ternary" || weights.quantizer.isAbsmean === true;

/**
 * The config of the model that a file of codes and scales holds: absmean's in place of every other ternary quantizer, under
 * Hugging Face's rule, which any scale of at least its epsilon fits. Where all are absmean's, the model's own.
 */
export function writtenConfig({ config, plan }: Transformer): ModelConfig {
  const { quantization } = config;
  if (!quantization || holdsFloatTernary({ plan })) return config;
  type Choice = typeof quantization.weights;
  const held = (choice: Choice): Choice => {
    const name = typeof choice === "object" ? choice.name : choice;
    return name !== undefined && name !== "none" && weightQuantizers.get(name).form === "ternary" ? "absmean" : choice;
  };
  const heldIn = <T extends { weights?: Choice }>(choices: T): T =>
    choices.weights === undefined ? choices : { ...choices, weights: held(choices.weights) };
  const { overrides } = quantization;
  return {
    ...config,
    ...huggingFaceScale,
    quantization: { ...heldIn(quantization), ...(overrides && { overrides: overrides.map(heldIn) }) },
  };
}

/** Whether a reader that makes float weights ternary by absmean makes what the model multiplies with. */
export const holdsFloatTernary = ({ plan }: Pick<Transformer, "plan">): boolean => plan.layers.every(isAbsmean);

/** @throws UnsupportedError naming a layer whose scale, not absmean's, a file of codes and scales would not give back */
export function checkScale({ name, spec }: LinearLayer, codes: Uint8Array, scale: number): void {
  const { weightEps } = huggingFaceScale;
  if (isAbsmean(spec) || !(scale < weightEps) || codes.every((code) => code === 1)) return;
  throw new UnsupportedError(
    `layer ${name}: its scale is ${scale}, and scales of this format begin at ${weightEps}; write gguf or onnx`,
  );
}

/**
 * For formats whose readers make ternary weights again, by absmean.
 *
 * @throws UnsupportedError naming the layer whose ternary weights absmean does not make
 */
export function checkAbsmean({ layers }: ModelPlan, format: string, instead: string): void {
  const other = layers.find((layer) => !isAbsmean(layer));
  if (other)
    throw new UnsupportedError(
      `${format}: layer ${other.name} is ternary by "${other.weights!.quantizer.name}", and readers of this format make weights ternary by absmean; ${instead}`,
    );
}

/** @throws UnsupportedError naming a layer that learned what a file of values does not hold */
export function checkValuesAlone({ layers }: ModelPlan, format: string): void {
  for (const layer of layers) {
    const { weights, activations } = learnedOf(layer);
    const quantizer = layer.weights?.quantizer;
    const by =
      activations.length > 0 ? layer.activations : quantizer?.form === "values" && weights.length > 0 && quantizer;
    if (by)
      throw new UnsupportedError(
        `${format}: layer ${layer.name}: what "${by.name}" learned has no place in this format; a model folder holds it`,
      );
  }
}
