/** Running a model: samplers, and text as it is written (`bitnet.ts/infer`). */
export {
  type FinishReason,
  type GeneratedToken,
  type GenerateOptions,
  type Generation,
  type GenerationReport,
  generate,
  generateText,
} from "./generate.ts";
export {
  type Candidates,
  candidatesOf,
  checkSampling,
  drawToken,
  logProbability,
  penalizeRepeats,
  type SamplingOptions,
  sampleToken,
  samplingDefaults,
} from "./samplers.ts";
export { createTextStream, type TextStream } from "./text-stream.ts";
