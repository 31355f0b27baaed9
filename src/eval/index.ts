/** Judging a model (`bitnet.ts/eval`): plain objects out. docs/evaluation.md defines the numbers. */
export { defaultSandboxLimits, type SandboxLimits, type SandboxReport } from "../platform/python-sandbox.ts";
export { type AnswerEncoder, type AnsweringModel, type Question, scoreAnswers } from "./answers.ts";
export { findWikiText, tasksIn } from "./find-tasks.ts";
export {
  type HarnessModel,
  type HarnessResults,
  type HarnessTask,
  toHarnessResults,
  toHarnessTask,
} from "./harness-results.ts";
export {
  type Completion,
  type CompletionOptions,
  canonicalCompletions,
  type HumanEvalResult,
  type JudgedCompletion,
  type JudgeOptions,
  judgeCompletions,
  readCompletions,
  readProblems,
  refuseWithoutConsent,
  type WrittenCompletions,
  writeCompletions,
} from "./humaneval.ts";
export {
  encodePair,
  type Likelihood,
  type LikelihoodGroup,
  type LikelihoodOptions,
  type LikelihoodRequest,
  scoreLikelihoods,
} from "./log-likelihood.ts";
export { type EvaluateOptions, evaluateLoss, type LossResult } from "./loss.ts";
export {
  type EvaluateTaskOptions,
  evaluateNamedTask,
  evaluateTask,
  type Metric,
  type TaskProgress,
  type TaskResult,
  type TaskSample,
} from "./run-tasks.ts";
export { evaluatePerplexity, type PerplexityOptions, type PerplexityResult } from "./perplexity.ts";
export type { Progress, ScoringModel } from "./score.ts";
export { type LossParts, type SequenceLossOptions, sequenceLosses } from "./sequence-losses.ts";
export { type ReadResults, type ReadScore, readHarnessResults } from "./read-results.ts";
export { isWithinNoise, meanStandardError, noiseStandardErrors, passAtK } from "./statistics.ts";
export { choicesField, goldField, readTaskRows, type TaskRow, textField } from "./task-rows.ts";
export {
  checkRows,
  checkTaskNames,
  type OpenTask,
  openTask,
  type ProgramOptions,
  type RunTaskOptions,
  runTask,
  sourceOf,
  type TaskModels,
  type TaskOutcome,
  type TaskPhaseProgress,
} from "./task-runner.ts";
export { type HubOptions, openTaskData, type TaskData, type TaskFiles } from "./task-source.ts";
export { type HumanEvalProblem, humaneval } from "./tasks/humaneval.ts";
export { type RollingWindow, rollingWindows } from "./rolling-windows.ts";
export {
  type ChoiceItem,
  type ContinuationItem,
  type ContinuationTask,
  choiceItem,
  findTask,
  type HubDataset,
  type LikelihoodTask,
  likelihoodTasks,
  type MultipleChoiceTask,
  registerTask,
  taskNames,
} from "./tasks/index.ts";
export {
  evaluateWikiText,
  pageStartOf,
  type WikiTextOptions,
  type WikiTextResult,
} from "./wikitext.ts";
