/** Text to a prepared dataset: reading, filtering, deduplicating, preparing (`bitnet.ts/corpus`). */
export { documentLine, type FilterOptions, type FilterReport, filterDocuments } from "./filter-documents.ts";
export * from "./filters/index.ts";
export {
  type Drop,
  type DropCount,
  type DropSample,
  defineFilter,
  type PipelineOptions,
  type PipelineRun,
  runPipeline,
  type Stage,
  type StageAccount,
  type StageReport,
} from "./pipeline.ts";
export { histogramOfLengths, type LengthHistogram, type PrepareReport, readPrepareReport } from "./prepare-report.ts";
export type { DocumentEncoder } from "./document-encoder.ts";
export {
  type DocumentFile,
  type DocumentSource,
  type PreparedDataset,
  type PrepareOptions,
  type PrepareProgress,
  type PrepareSource,
  prepareTokens,
} from "./prepare.ts";
export {
  type ExpectedSize,
  estimatePreparation,
  type PrepareEstimate,
  type SourceEstimate,
} from "./prepare-estimate.ts";
export type { PrepareInput } from "./prepare-inputs.ts";
export {
  defaultShardTokens,
  type PrepareShardsOptions,
  type PrepareShardsProgress,
  type PrepareStage,
  prepareStages,
  type TokenizerSource,
} from "./prepare-context.ts";
export { prepareShards } from "./prepare-shards.ts";
export {
  isRecipe,
  type LoadedRecipe,
  type Recipe,
  type RecipeSource,
  readRecipe,
  recipeNames,
  recipeText,
} from "./recipe.ts";
export {
  createTextMemory,
  openSharedText,
  type SharedFile,
  type SharedText,
  type SharedTextOptions,
  type TextMemory,
} from "./shared-text.ts";
export { optionsOfRecipe, type RecipeChoices, type RecipeOptions } from "./recipe-run.ts";
export { type Packing, type PackingKind, packingKinds } from "./packing/write-shards.ts";
export {
  type BadRecord,
  type BadRecordPolicy,
  badRecordPolicies,
  createSourceReport,
  type FieldMap,
  type SourceReport,
  type TextDocument,
} from "./records.ts";
export {
  identityOf,
  type LocateOptions,
  locateSources,
  type SourceFile,
  sourceFormats,
} from "./source-files.ts";
export {
  defaultMaxDocumentBytes,
  defaultSeparator,
  expandSources,
  readDocuments,
  readSourceFile,
  readTextDocuments,
  type SourceFormat,
  type SourceOptions,
} from "./sources.ts";
export {
  countBytes,
  countWikiText,
  countWords,
  detokenizeWikiText,
  isPageHeading,
  readPages,
  type WikiTextCounts,
} from "./wikitext2.ts";
export * from "./generated/index.ts";
export * from "./dedup/index.ts";
export * from "./inspect/index.ts";
