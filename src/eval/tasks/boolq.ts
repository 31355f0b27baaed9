/** BoolQ (Clark et al. 2019): yes or no, from a passage. The harness's task `boolq`, version 2.0. */
import { choicesField, goldField, isPrepared, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

/** Rows of the hub (passage, question, label), or prepared ones (query "Passage: ...\nQuestion: ...?", choices, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const choices = choicesField(row, "choices");
    const query = textField(row, "query").replace(/^Passage: /, "");
    return choiceItem(row.where, `${query}\nAnswer:`, choices, goldField(row, "gold", choices.length));
  }
  const context = `${textField(row, "passage")}\nQuestion: ${textField(row, "question")}?\nAnswer:`;
  return choiceItem(row.where, context, ["no", "yes"], goldField(row, "answer" in row.value ? "answer" : "label", 2));
}

export const boolq: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "boolq",
  version: 2,
  dataset: { repo: "aps/super_glue", config: "boolq", split: "validation", fewshotSplit: "train" },
  fileNames: ["boolq"],
  drawsOneMore: true,
  metrics: ["acc"],
  fixedChoices: true,
  read,
};
