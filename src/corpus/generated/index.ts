/** The generated sets, by the name that the command line uses. */
import { arithmetic } from "./arithmetic.ts";
import { jsonRecords } from "./json-records.ts";
import type { ProblemSet } from "./problem-set.ts";
import { pythonSubset } from "./python-subset.ts";

export { type ArithmeticOperator, arithmetic, arithmeticRanges, createArithmetic } from "./arithmetic.ts";
export { jsonRecords } from "./json-records.ts";
export {
  heldOutFraction,
  type ProblemSet,
  type ProblemSplit,
  problemDocuments,
  take,
  takeDistinct,
  problemText,
} from "./problem-set.ts";
export { pythonSubset } from "./python-subset.ts";

export const problemSets: Readonly<Record<string, ProblemSet>> = {
  arithmetic,
  python: pythonSubset,
  json: jsonRecords,
};
