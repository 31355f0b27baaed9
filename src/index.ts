/**
 * bitnet.ts, the public door: what most programs need. The parts have doors of their own (`bitnet.ts/train`,
 * `bitnet.ts/infer`, ...).
 *
 *   import { generateText, openEngine, train } from "bitnet.ts";
 */
export { type Backend, type BackendChoice, createBackend, findBackends, listBackends } from "./backends/index.ts";
export { exportGguf, loadModel, type OpenedModel } from "./exchange/index.ts";
export { evaluateLoss, evaluateWikiText, scoreAnswers } from "./eval/index.ts";
export {
  beamSearch,
  type Engine,
  Grammar,
  generate,
  generateText,
  jsonSchemaToGbnf,
  openEngine,
  Scheduler,
  TransformerEngine,
} from "./infer/index.ts";
export { type ModelConfig, presetConfig, presets, Transformer } from "./model/index.ts";
export * from "./platform/errors.ts";
export { createRandom, type Random } from "./platform/random.ts";
export { Runtime, type Tensor } from "./tensor/index.ts";
export { loadTokenizer, type Tokenizer, trainBpe, trainCharacters } from "./tokenizer/index.ts";
export { type TrainOptions, type TrainReport, train } from "./train/index.ts";
