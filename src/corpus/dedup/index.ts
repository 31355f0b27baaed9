/** Deduplication and decontamination of documents: part of the public door of corpus/ (`bitnet.ts/corpus`). */
export {
  type DedupProgress,
  type DedupStage,
  type DeduplicateOptions,
  type DeduplicationResult,
  dedupStages,
  deduplicate,
} from "./dedup.ts";
export { type Bands, candidateProbability, chooseBands, lshCurve } from "./lsh.ts";
export { type DedupOptions, type KeepRule, type ResolvedDedup, resolveDedup, type Verification } from "./options.ts";
export { type PlanDialect, type PlanTextOptions, planText } from "./plan-text.ts";
export { type DedupReport, readDedupReport, readDropped, type ShownPair } from "./report.ts";
export { type DedupDocument, type DedupSource, fileSources } from "./sources.ts";
export { type DroppedDocument, type DropReason, withoutDropped } from "./write.ts";
