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

const tasks: LikelihoodTask[] = [
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

/** The tasks there are, those of extensions behind ours. */
export const likelihoodTasks: readonly LikelihoodTask[] = tasks;

const names: string[] = [...tasks.map(({ name }) => name), "humaneval", "wikitext"];
/** Every name that `--task` takes. */
export const taskNames: readonly string[] = names;

/** Adds a task. @throws UsageError if its name is taken */
export function registerTask(task: LikelihoodTask): void {
  if (names.includes(task.name)) throw new UsageError(`task "${task.name}" exists already; choose another name`);
  tasks.push(task);
  names.push(task.name);
}

/** @throws UsageError for a name that is no task's */
export function findTask(name: string): LikelihoodTask {
  const task = tasks.find((known) => known.name === name);
  if (!task) throw new UsageError(`unknown task "${name}"; tasks are: ${names.join(", ")}`);
  return task;
}

export {
  type ChoiceItem,
  type ContinuationItem,
  type ContinuationTask,
  choiceItem,
  type HubDataset,
  type LikelihoodTask,
  type MultipleChoiceTask,
} from "./task.ts";
