/** Models as GGUF files: written for llama.cpp and bitnet.cpp, and read back. The file's own format is formats/gguf. */
export {
  autoGgufType,
  type GgufArchitecture,
  type GgufEmbeddingType,
  type GgufExportType,
  type GgufLinearType,
  type GgufPlan,
  ggufExportTypes,
  ggufLinearTypes,
} from "./architecture.ts";
export { exportGguf, type GgufExportOptions, type GgufExportReport, sizeKeys } from "./export.ts";
export { endNames, withoutTextEnds } from "./end-tokens.ts";
export {
  describeGguf,
  type GgufOptions,
  importGguf,
  isGgufFile,
  type LoadedGguf,
  loadGguf,
  type OpenedGguf,
  openGgufModel,
  pairedHeads,
  readGgufTernary,
  scaleFactorOf,
} from "./import.ts";
export { ggufNameOf, interleaveRotary } from "./names.ts";
