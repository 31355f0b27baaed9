/**
 * Training (`bitnet.ts/train`): one call for a whole run, and the parts for those who build their own. `z` is the zod that
 * schemas are written in. Parts that a config can name are added by `useExtension` (`bitnet.ts/extensions`).
 */
export { z } from "zod";
export { type CallbackDefinition, createCallbacks, defineCallback } from "./callbacks.ts";
export { checkpoints } from "./callbacks/checkpoints.ts";
export { earlyStopping } from "./callbacks/early-stopping.ts";
export { evaluation } from "./callbacks/evaluation.ts";
export { metrics } from "./callbacks/metrics.ts";
export { type SampleOptions, type SampleText, samples } from "./callbacks/samples.ts";
export { scalarsFile } from "./callbacks/scalars-file.ts";
export { type EpochSummary, type Measured, type Summary, summary } from "./callbacks/summary.ts";
export { tensorboard } from "./callbacks/tensorboard.ts";
export {
  checkProgressive,
  type ConfigLayer,
  configToYaml,
  type DerivedRun,
  deriveRun,
  parseConfig,
  parseOverrides,
  resolveConfig,
} from "./config.ts";
export { presetNames } from "./config-presets.ts";
export { type RunConfig, type RunConfigPatch, runConfigSchema } from "./config-schema.ts";
export type { Controls, ControlsState } from "./controls.ts";
export { type Corpus, prepareCorpus, prepareTrainingData } from "./corpus.ts";
export { type DistillConfig, distillDefaults } from "./distillation/settings.ts";
export { type SequenceTargets, type TeacherTargets, openTargets } from "./distillation/targets.ts";
export { openTeacher, type Teacher } from "./distillation/teacher.ts";
export type {
  Callback,
  GradientsEvent,
  LayerValues,
  Sample,
  ScalarLine,
  StepEvent,
  StopReason,
  Training,
  TrainingEvent,
  TrainingState,
} from "./events.ts";
export { freeze, restoreFrozen } from "./freezing.ts";
export { createObjectives, type ObjectiveChoice } from "./objectives.ts";
export { besideTeacher, type DistillationParts, distillationObjectives } from "./objectives/distillation.ts";
export { nextTokenObjective } from "./objectives/next-token.ts";
export {
  defineObjective,
  type Objective,
  type ObjectiveBatch,
  type ObjectiveContext,
  type ObjectiveDefinition,
  type ObjectiveLoss,
  type StateKind,
  type StepForward,
  type WantedState,
  type WeightConfig,
  weightSchema,
} from "./objectives/objective.ts";
export type { WeightedObjective } from "./objectives/weighted.ts";
export { measureLoss, type ValidationData, type ValidationResult } from "./evaluate.ts";
export {
  type AdamWSettings,
  assembleOptimizer,
  cautiousKey,
  clipScale,
  createAdamW,
  createAdamW8bit,
  createMuon,
  createOptimizer,
  createSgd,
  type DecaySettings,
  gradientNorm,
  gradientSquares,
  type Multiplier,
  type MuonSettings,
  type NamedTensor,
  type Optimizer,
  type OptimizerChoice,
  type OptimizerDefinition,
  type OptimizerRule,
  optimizerKeys,
  optimizerStateBytes,
  type SgdSettings,
  type StepValues,
  type UpdateValues,
} from "./optimizers.ts";
export { type OpenedRuns, openedKey, openRuns } from "./opened-runs.ts";
export { type Recipe, readRecipe, recipeNames } from "./recipes.ts";
export { type RunCurve, type RunCurves, runCurves } from "./run-curves.ts";
export { isRun, type RunMeta, readMeta, readRunConfig, runPaths } from "./run-folder.ts";
export { type ListedRun, listRuns, type RunState } from "./list-runs.ts";
export { readScalars } from "./scalars.ts";
export {
  createSchedule,
  type Schedule,
  type ScheduleConfig,
  type ScheduleDefinition,
  type ScheduledValues,
  scheduleKeys,
} from "./schedules.ts";
export { plannedConfig, type RunChoice } from "./choose-run.ts";
export type { ReadyRun } from "./record-run.ts";
export { type TrainOptions, type TrainReport, train } from "./train.ts";
export type { TrainingData } from "./training-data.ts";
export type { ModelBatch, TernaryLayer, TrainableModel } from "./trainable-model.ts";
export {
  createProgressive,
  type Moment,
  momentSchema,
  type ProgressiveConfig,
  type ProgressiveDefinition,
  type ProgressiveQuantization,
  type ProgressiveRun,
  type RampConfig,
  ramp,
  rampDefaults,
  rampKeys,
  type StepQuantization,
  stepsOf,
} from "./progressive.ts";
export { type RollBack, runTraining, type TrainerParts, type TrainingOutcome } from "./trainer.ts";
export { trainingFacts } from "./training-facts.ts";
