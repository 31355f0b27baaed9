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
export { type Cache, type TokenBatch, Transformer } from "./transformer.ts";
