/**
 * A task of one's own for `bitnet eval`: questions with choices, scored by the likelihood of each choice, as
 * lm-evaluation-harness scores them.
 *
 *   node examples/own-task.mjs MODEL questions.jsonl
 *   bitnet eval -m MODEL --task quiz-example --task-data questions.jsonl --extension examples/own-task.mjs
 *
 * A line of questions.jsonl: {"question": "Two and two are", "choices": ["four", "five"], "answer": 0}
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openEngine } from "bitnet.ts";
import { evaluateNamedTask } from "bitnet.ts/eval";
import { choiceItem, choicesField, goldField, textField, useExtension } from "bitnet.ts/extensions";

/** @type {import("bitnet.ts/extensions").LikelihoodTask} */
export const quiz = {
  kind: "multiple-choice",
  name: "quiz-example",
  version: 1,
  dataset: null,
  fileNames: ["quiz", "questions"],
  drawsOneMore: false,
  metrics: ["acc", "acc_norm"],
  read(row) {
    const choices = choicesField(row, "choices");
    return choiceItem(row.where, textField(row, "question"), choices, goldField(row, "answer", choices.length));
  },
};

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = { tasks: [quiz] };
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [model, file] = process.argv.slice(2);
  if (!file) throw new Error("name a model and a file of questions");
  useExtension(extension);
  const { engine, tokenizer, startToken, close } = await openEngine(model);
  const files = { path: file, cacheDir: "runs/cache" };
  const result = await evaluateNamedTask(engine, tokenizer, quiz.name, files, { batch: 8, startToken });
  for (const { name, value, standardError } of result.metrics)
    console.log(`${name} ${value.toFixed(4)} ± ${(standardError ?? 0).toFixed(4)} of ${result.items} questions`);
  close();
}
