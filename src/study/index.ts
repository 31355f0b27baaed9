/** Studies (`bitnet.ts/study`): arms times seeds, run into a folder that a later call goes on with, and what comes of them. */
export { readStudy, type SavedStudy, type StudyData, type StudyMeta, studyPaths } from "./folder.ts";
export { parseStudyResults, studyResults, type StudyResults, studyResultsFormat } from "./results.ts";
export {
  type PlannedTrial,
  plannedTrials,
  runStudy,
  type StudyOptions,
  type StudyOutcome,
  type TrialEvent,
} from "./run.ts";
export {
  createHalving,
  type Dimension,
  firstRung,
  gridPoints,
  type Halving,
  parseDimension,
  randomPoint,
  type SearchPoint,
  type SearchSpace,
  type SearchTrial,
  type SearchValue,
  tpePoint,
} from "./search/index.ts";
export {
  type Arm,
  checkStudyFile,
  type Group,
  parseStudy,
  readStudyFile,
  resolveStudy,
  type Study,
  type StudyFile,
} from "./spec.ts";
export { type Estimate, estimate, halfInterval, paired, type Verdict, verdictOf } from "./statistics.ts";
export {
  type ArmSummary,
  type Difference,
  type Gap,
  type StudyMetric,
  type StudySummary,
  summarizeStudy,
} from "./summary.ts";
export { type CurvePoint, hashOf, type Measured, type TrialRecord } from "./trial.ts";
