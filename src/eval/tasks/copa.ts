/**
 * COPA (Roemmele et al. 2011): which of two is the cause, or the effect. The harness's task `copa`, version 1.0. Its choices
 * begin with a space and its delimiter is another, so that two stand before the continuation; so they do here.
 */
import { DataError } from "../../platform/errors.ts";
import { strip } from "../python.ts";
import { choicesField, goldField, isPrepared, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

const connectors: Record<string, string> = { cause: "because", effect: "therefore" };

const asChoice = (choice: string): string => ` ${choice[0].toLowerCase()}${choice.slice(1)}`;

/** Rows of the hub (premise, question, choice1, choice2, label), or prepared ones (query "..., therefore", choices, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const choices = choicesField(row, "choices");
    const context = textField(row, "query").replace(/, (because|therefore)$/, " $1");
    return choiceItem(row.where, context, choices.map(asChoice), goldField(row, "gold", choices.length));
  }
  const question = textField(row, "question");
  const connector = connectors[question];
  if (!connector) throw new DataError(`${row.where}: "question" is "${question}"; expected "cause" or "effect"`);
  const choices = [textField(row, "choice1"), textField(row, "choice2")].map(asChoice);
  const context = `${strip(textField(row, "premise")).slice(0, -1)} ${connector}`;
  return choiceItem(row.where, context, choices, goldField(row, "label", 2));
}

export const copa: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "copa",
  version: 1,
  dataset: { repo: "aps/super_glue", config: "copa", split: "validation", fewshotSplit: "train" },
  fileNames: ["copa"],
  drawsOneMore: true,
  metrics: ["acc"],
  read,
};
