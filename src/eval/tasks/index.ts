/** The tasks that are scored by log-likelihood, by name. To add one: a file beside this, and an entry here. */
import { Registry } from "../../platform/registry.ts";
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

const likelihood = new Registry<LikelihoodTask>(
  "task",
  [arcEasy, arcChallenge, hellaswag, piqa, winogrande, boolq, openbookqa, copa, storycloze, lambada],
  ({ kind, read }) =>
    kind !== "multiple-choice" && kind !== "continuation"
      ? 'kind "multiple-choice" or "continuation"'
      : typeof read === "function"
        ? null
        : "read()",
);
/** With those that have runners of their own (task-runner.ts). */
const tasks = new Registry<{ readonly name: string }>("task", [
  ...likelihood.all,
  { name: "humaneval" },
  { name: "wikitext" },
]);

/** The tasks there are, those of extensions behind ours. */
export const likelihoodTasks: readonly LikelihoodTask[] = likelihood.all;

/** Every name that `--task` takes. */
export const taskNames: readonly string[] = tasks.names;

/** Adds a task. @returns takes it out again @throws UsageError if its name is taken */
export function registerTask(task: LikelihoodTask): () => void {
  const undo = [tasks.register(task), likelihood.register(task)];
  return () => {
    for (const takeOut of undo) takeOut();
  };
}

/** @throws UsageError for a name that is no task's */
export function checkTaskName(name: string): void {
  tasks.get(name);
}

/** @throws UsageError for a name that is no task's scored by log-likelihood */
export const findTask = (name: string): LikelihoodTask => likelihood.get(name);

export {
  type ChoiceItem,
  type ContinuationItem,
  type ContinuationTask,
  choiceItem,
  type HubDataset,
  type LikelihoodTask,
  type MultipleChoiceTask,
} from "./task.ts";
