/** OpenBookQA (Mihaylov et al. 2018) without its book: the harness's task `openbookqa`, version 1.0. */
import { choicesField, goldField, isPrepared, labelledChoices, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

/** Rows of the hub (question_stem, choices, answerKey), or prepared ones (query, choices, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const choices = choicesField(row, "choices");
    return choiceItem(row.where, textField(row, "query"), choices, goldField(row, "gold", choices.length));
  }
  const { choices, gold } = labelledChoices(row);
  return choiceItem(row.where, textField(row, "question_stem"), choices, gold);
}

export const openbookqa: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "openbookqa",
  version: 1,
  dataset: { repo: "allenai/openbookqa", config: "main", split: "test", fewshotSplit: "train" },
  fileNames: ["openbookqa", "openbook_qa"],
  drawsOneMore: false,
  metrics: ["acc", "acc_norm"],
  read,
};
