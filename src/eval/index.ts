/** Judging a model (`bitnet.ts/eval`): plain objects out. docs/evaluation.md defines the numbers. */
export { type AnswerEncoder, type AnsweringModel, type Question, scoreAnswers } from "./answers.ts";
export { type EvaluateOptions, evaluateLoss, type LossResult } from "./loss.ts";
export type { Progress, ScoringModel } from "./score.ts";
export {
  evaluateWikiText,
  type RollingWindow,
  rollingWindows,
  type WikiTextOptions,
  type WikiTextResult,
} from "./wikitext.ts";
