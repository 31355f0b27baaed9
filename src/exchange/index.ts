/** Models in the forms of other programs, and one that is ours alone (`bitnet.ts/exchange`): read, written, converted. */
export {
  type CompactOptions,
  type CompactTypes,
  compactTypes,
  importCompact,
  loadCompact,
  type OpenedCompact,
  openCompactModel,
  saveCompact,
} from "./compact.ts";
export {
  endNames,
  exportGguf,
  type GgufExportOptions,
  type GgufExportReport,
  type GgufOptions,
  ggufExportTypes,
  ggufNameOf,
  importGguf,
  interleaveRotary,
  loadGguf,
  type OpenedGguf,
  openGgufModel,
  pairedHeads,
  readGgufTernary,
  scaleFactorOf,
  withoutTextEnds,
} from "./gguf/index.ts";
export { type Matrix, matrixOf } from "./matrix.ts";
export { convertToBitnet } from "./convert.ts";
export {
  exportHuggingFace,
  type HuggingFaceExport,
  type HuggingFaceFloatType,
  type HuggingFaceType,
  type HuggingFaceWritten,
  huggingFaceTypes,
} from "./hf-export.ts";
export { holdsFloatTernary } from "./matrix.ts";
export { downloadModel, type HubOptions, type HubProgress, hubCacheFolder, isHubName } from "./hub.ts";
export { type CardFacts, modelCard, type TrainingFacts } from "./model-card.ts";
export { type OnnxWeights, onnxWeights, type SaveOnnxOptions, saveOnnx } from "./onnx.ts";
export {
  describeModel,
  isCompactPath,
  isGgufPath,
  type LoadOptions,
  loadModel,
  localModel,
  type OpenedModel,
  refusePre,
} from "./open-model.ts";
export { overridesText, parseOverridesFile, readOverrides } from "./overrides-file.ts";
export { saveTransformersJs, type TransformersJsOptions } from "./transformers-js.ts";
