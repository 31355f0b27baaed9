/** Prepared tokens to batches: the public door of data/. `bitnet.ts/data` is this and corpus/ (entry/data.ts). */
export { ignoreBeforeMarker } from "./loss-mask.ts";
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
export { openSplit, type PreparedSplit } from "./prepared-split.ts";
export { type SequenceReader, sequencesOf } from "./sequences.ts";
export type { ShardHeader, ShardPacking } from "./shard-header.ts";
export { parseShare, type Share, shareName, wholeShare } from "./share.ts";
export { streamOfShards } from "./shard-stream.ts";
export { createShard, openShard, type Shard, type ShardPiece, type ShardWriter } from "./shards.ts";
export { isValidationDocument } from "./split.ts";
export { sliceOfStream, streamOfTokens, type TokenStream } from "./token-stream.ts";
export * from "./mixing/index.ts";
export { isAddress, isHubDataset } from "./source-names.ts";
