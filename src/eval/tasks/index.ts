/** The tasks that are scored by log-likelihood, by name. To add one: a file beside this, and an entry here. */
import { UsageError } from "../../platform/errors.ts";
import { arcChallenge, arcEasy } from "./arc.ts";
import { boolq } from "./boolq.ts";
import { copa } from "./copa.ts";
import { hellaswag } from "./hellaswag.ts";
import { lambada } from "./lambada.ts";
import { openbookqa } from "./openbookqa.ts";
import { piqa } from "./piqa.ts";
import { storycloze } from "./storycloze.ts";
import type { LikelihoodTask } from "./task.ts";
import { winogrande } from "./winogrande.ts";

export const likelihoodTasks: readonly LikelihoodTask[] = [
  arcEasy,
  arcChallenge,
  hellaswag,
  piqa,
  winogrande,
  boolq,
  openbookqa,
  copa,
  storycloze,
  lambada,
];

/** @throws UsageError for a name that is no task's */
export function findTask(name: string): LikelihoodTask {
  const task = likelihoodTasks.find((known) => known.name === name);
  if (!task) throw new UsageError(`unknown task "${name}"; tasks are: ${taskNames.join(", ")}`);
  return task;
}

/** Every name that `--task` takes. */
export const taskNames: readonly string[] = [...likelihoodTasks.map(({ name }) => name), "humaneval", "wikitext"];

export type { ChoiceItem, ContinuationItem, HubDataset, LikelihoodTask } from "./task.ts";
