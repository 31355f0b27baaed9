/**
 * HellaSwag (Zellers et al. 2019): which of four sentences goes on. The harness's task `hellaswag`, version 1.0, with its
 * preprocessing of activity, context and endings.
 */
import { capitalize, strip } from "../python.ts";
import { choicesField, goldField, isPrepared, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

/** /\[[^\n]*?\]/g of a line; what stands behind the last closing bracket is not searched, as nothing there can close. */
function withoutBrackets(line: string): string {
  const end = line.lastIndexOf("]") + 1;
  return line.slice(0, end).replace(/\[[^\]]*\]/g, "") + line.slice(end);
}

/** The harness's `preprocess`: brackets are left over from WikiHow. */
const preprocess = (text: string): string =>
  strip(text).replaceAll(" [title]", ". ").split("\n").map(withoutBrackets).join("\n").replaceAll("  ", " ");

/** Rows of the hub (activity_label, ctx_a, ctx_b, endings, label), or prepared ones (query, choices, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const choices = choicesField(row, "choices");
    return choiceItem(row.where, textField(row, "query"), choices, goldField(row, "gold", choices.length));
  }
  const activity = textField(row, "activity_label");
  const context = `${textField(row, "ctx_a", { mayBeEmpty: true })} ${capitalize(textField(row, "ctx_b", { mayBeEmpty: true }))}`;
  const endings = choicesField(row, "endings").map(preprocess);
  return choiceItem(row.where, preprocess(`${activity}: ${context}`), endings, goldField(row, "label", endings.length));
}

export const hellaswag: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "hellaswag",
  version: 1,
  dataset: { repo: "Rowan/hellaswag", config: "default", split: "validation", fewshotSplit: "train" },
  fileNames: ["hellaswag"],
  drawsOneMore: true,
  metrics: ["acc", "acc_norm"],
  read,
};
