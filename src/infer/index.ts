/** Running a model: engines, samplers, grammars, and text as it is written (`bitnet.ts/infer`). docs/generation.md. */
export { type Beam, type BeamOptions, beamSearch } from "./beam.ts";
export {
  type ChatMessage,
  type ChatTemplate,
  chatTemplateByName,
  chatTemplates,
  createChatTemplate,
  readChatTemplate,
} from "./chat-template.ts";
export { endTokensOf } from "./end-tokens.ts";
export type { Engine, Sequence, Work } from "./engine.ts";
export { type Generation, generate, generateText, type SingleOptions } from "./generate.ts";
export { anyObject, type JsonSchema, jsonSchemaToGbnf } from "./grammar/json-schema.ts";
export { Grammar } from "./grammar/token-mask.ts";
export { type OpenEngineOptions, type OpenedEngine, openEngine } from "./open-engine.ts";
export {
  createPackedEngine,
  PackedEngine,
  type PackedEngineOptions,
  packModel,
} from "./packed/engine.ts";
export { runsPacked, unpackableLayer } from "./packed/options.ts";
export { type WeightSource, weightsOfModel } from "./packed/weights.ts";
export { PromptCache } from "./prompt-cache.ts";
export type { PromptToken } from "./prompt-scores.ts";
export {
  type Candidates,
  candidatesOf,
  checkSampling,
  drawToken,
  logProbability,
  type Penalties,
  penalize,
  type SamplingOptions,
  sampleToken,
  samplingDefaults,
  type TokenProbability,
} from "./samplers.ts";
export {
  QueueFullError,
  type ScheduledText,
  Scheduler,
  type SchedulerOptions,
  type SchedulerStats,
} from "./scheduler.ts";
export { aroundText, type StartTokenChoice, startTokenOf, withStartToken } from "./start-token.ts";
export { createStopStrings, type StopStrings } from "./stop-strings.ts";
export { createTextStream, type TextStream } from "./text-stream.ts";
export { TransformerEngine } from "./transformer-engine.ts";
export type {
  FinishReason,
  GeneratedToken,
  GenerateOptions,
  GenerationReport,
  TextTokenizer,
} from "./writer.ts";
