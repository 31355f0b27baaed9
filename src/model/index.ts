/** Models: config, presets, the transformer. */
export { headWidth, type ModelConfig, modelConfigSchema, type PresetName, presetConfig, presets } from "./config.ts";
export { type Cache, type TokenBatch, Transformer } from "./transformer.ts";
