/** Mixing and streaming: several sources as one training text, curricula, reading ahead. Part of `bitnet.ts/data`. */
export {
  type BatchFeed,
  type DataPosition,
  type FeedSource,
  type FeedSpec,
  type MixtureFeedSpec,
  openFeed,
  openMixture,
  openSource,
  openSources,
  openStream,
  type PreparedSource,
  type TextFeedSpec,
} from "./feed.ts";
export { documentScores, lengthScores } from "./difficulty.ts";
export { joinSequences } from "./join.ts";
export {
  createMixture,
  type DifficultyOrder,
  type Mixture,
  type MixtureBatch,
  type MixtureOptions,
  type MixturePosition,
  type MixtureSource,
  type SourceUse,
} from "./mixture.ts";
export { competence, type Pacing, type PacingName, pacingNames } from "./pacing.ts";
export { manyEpochs, type PlannedSource, planMixture } from "./plan.ts";
export { prefetchFeed } from "./prefetch.ts";
export { listScores, openScores, type Scores, type ScoresName, scoresPath, writeScores } from "./scores.ts";
export { createShares, partsOf, type Shares } from "./shares.ts";
export {
  type CurriculumSpec,
  checkMixture,
  type MixtureSpec,
  mixtureSchema,
  parseMix,
  pathsOf,
  readMixture,
  type SourceSpec,
} from "./spec.ts";
export { type HeldOutSource, mixedSequentialBatches, shareWindows } from "./validation.ts";
export { openUnfinishedScores, type UnfinishedScores } from "./unfinished-scores.ts";
