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
} from "./config.ts";
export {
  entropyBits,
  type InferenceMemory,
  inspectModel,
  inspectTernaryLayers,
  type ModelDescription,
  type ParameterInfo,
  type TernaryLayerInfo,
  type TrainingMemory,
} from "./inspect.ts";
export { inputGroups, type LayerPlan, type LinearRole, type ModelPlan, planModel } from "./plan.ts";
export { matchesLayer, type QuantizationConfig, quantizationSchema } from "./quantization.ts";
export { type Cache, type TokenBatch, Transformer } from "./transformer.ts";
