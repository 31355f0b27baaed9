/** Models: config, presets, the transformer. */
export {
  hasSubNorms,
  finalNormEpsOf,
  headWidth,
  type ModelConfig,
  modelConfigSchema,
  type PresetName,
  presetConfig,
  presets,
  shapeKeys,
  sizeKeys,
} from "./config.ts";
export { describeLayer, describeModel, describePlan, someLayers } from "./describe.ts";
export {
  entropyBits,
  type InferenceMemory,
  inspectModel,
  inspectTernaryLayers,
  type LayerInfo,
  type ModelDescription,
  type ParameterInfo,
  type TernaryLayerInfo,
  type TrainingMemory,
} from "./inspect.ts";
export {
  embeddingName,
  finalNormName,
  headName,
  inBlock,
  linearNames,
  linearRoles,
  moduleName,
  normNames,
  shortName,
  weightName,
} from "./names.ts";
export { checkQuantization, type LayerChoice, maxPlannedBlocks, quantizationOf } from "./overrides.ts";
export { type LayerPlan, type LinearRole, type ModelPlan, planModel } from "./plan.ts";
export { type QuantizationConfig, quantizationSchema } from "./quantization.ts";
export { type Cache, type StateTap, type TokenBatch, Transformer } from "./transformer.ts";
export { checkLatent, requantize, withQuantization } from "./requantize.ts";
