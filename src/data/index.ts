/** Text to tokens to batches: the public door of data/ (`bitnet.ts/data`). */
export { ignoreBeforeMarker } from "./answers.ts";
export {
  type Batch,
  type BatchOptions,
  type BatchPosition,
  type BatchSource,
  createBatches,
  documentStarts,
  ignoredTarget,
  type SequentialBatches,
  sequentialBatches,
} from "./batches.ts";
export {
  type DatasetManifest,
  isDataset,
  openShards,
  openTokens,
  readManifest,
  type SplitName,
  type SplitSummary,
} from "./dataset.ts";
export {
  type DocumentEncoder,
  type DocumentSource,
  type PreparedDataset,
  type PrepareOptions,
  type PrepareProgress,
  prepareTokens,
} from "./prepare.ts";
export { createShard, openShard, type Shard, type ShardHeader, type ShardWriter, streamOfShards } from "./shards.ts";
export {
  defaultMaxDocumentBytes,
  defaultSeparator,
  expandSources,
  readDocuments,
  type SourceFormat,
  type SourceOptions,
} from "./sources.ts";
export { isValidationDocument } from "./split.ts";
export { streamOfTokens, type TokenStream } from "./token-stream.ts";
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
