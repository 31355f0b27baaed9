/** PIQA (Bisk et al. 2020): which of two ways reaches a physical goal. The harness's task `piqa`, version 1.0. */
import { choicesField, goldField, isPrepared, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

/** Rows of the hub (goal, sol1, sol2, label), the original ones with labels beside, or prepared ones (query, choices, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const choices = choicesField(row, "choices");
    const query = textField(row, "query").replace(/^Question: /, "");
    return choiceItem(row.where, `Question: ${query}\nAnswer:`, choices, goldField(row, "gold", choices.length));
  }
  const choices = [textField(row, "sol1"), textField(row, "sol2")];
  return choiceItem(row.where, `Question: ${textField(row, "goal")}\nAnswer:`, choices, goldField(row, "label", 2));
}

export const piqa: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "piqa",
  version: 1,
  dataset: { repo: "ybisk/piqa", config: "plain_text", split: "validation", fewshotSplit: "train" },
  fileNames: ["piqa"],
  labelFile: /^(?<rows>.*?)-labels\.lst$/,
  drawsOneMore: true,
  metrics: ["acc", "acc_norm"],
  read,
};
