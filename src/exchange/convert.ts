/**
 * A full-precision model as the start of a ternary one: the same weights under the `bitnet` variant, with sub-norms of
 * gain 1 in front of the output and down projections, or without. Called by `bitnet import --to bitnet`.
 *
 * Made ternary, the model has largely lost its knowledge until it is trained on; train/ can quantize it
 * progressively (`train.progressive`), which without sub-norms begins with the model as it was (docs/hugging-face.md).
 */
import { type ModelConfig, Transformer } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { huggingFaceScale } from "../checkpoint/hf-config.ts";

/**
 * @param subNorms new norms where BitNet has them; they change what the model computes
 * @returns a model on the same runtime, the caller's to dispose of, and the names of the parameters that are new
 * @throws UsageError where the model is ternary already
 */
export async function convertToBitnet(
  model: Transformer,
  { subNorms = true }: { subNorms?: boolean } = {},
): Promise<{ model: Transformer; added: string[] }> {
  const { runtime } = model;
  if (model.plan.anyTernary)
    throw new UsageError("the model is ternary already; --to bitnet is for full-precision models");
  // Scale by Hugging Face's rule: that is what continues to be right where the model came from.
  const config: ModelConfig = { ...model.config, variant: "bitnet", subNorms, ...huggingFaceScale };
  // Layers that the config names keep their quantizers; what it says of all of them ends here.
  const { overrides } = config.quantization ?? {};
  if (config.quantization) config.quantization = overrides && { overrides };
  const converted = new Transformer(runtime, config, null);
  try {
    const had = new Map(model.parameters.map((parameter) => [parameter.name, parameter]));
    const added: string[] = [];
    for (const parameter of converted.parameters) {
      const from = had.get(parameter.name);
      if (!from && parameter.role !== "norm") throw new Error(`convert: nothing to make ${parameter.name} of`);
      if (!from) added.push(parameter.name);
      const values = from ? await runtime.readFloats(from.tensor) : new Float32Array(parameter.size).fill(1);
      runtime.backend.upload(parameter.tensor.buffer, values);
      parameter.changed();
    }
    return { model: converted, added };
  } catch (error) {
    converted.dispose();
    throw error;
  }
}
