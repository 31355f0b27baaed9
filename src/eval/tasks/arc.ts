/**
 * ARC-Easy and ARC-Challenge (Clark et al. 2018): grade-school science questions with mostly four answers. The harness's
 * tasks `arc_easy` and `arc_challenge`, version 1.0.
 */
import { choicesField, goldField, isPrepared, labelledChoices, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

/** Rows of the hub (question, choices, answerKey), or prepared ones (query "Question: ...", choices, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const choices = choicesField(row, "choices");
    const gold = goldField(row, "gold", choices.length);
    return choiceItem(row.where, `${textField(row, "query")}\nAnswer:`, choices, gold);
  }
  const question = textField(row, "question");
  const { choices, gold } = labelledChoices(row);
  return choiceItem(row.where, `Question: ${question}\nAnswer:`, choices, gold);
}

const arc = (name: string, config: string): MultipleChoiceTask => ({
  kind: "multiple-choice",
  name,
  version: 1,
  dataset: { repo: "allenai/ai2_arc", config, split: "test", fewshotSplit: "train" },
  fileNames: [name, config],
  drawsOneMore: false,
  metrics: ["acc", "acc_norm"],
  read,
});

export const arcEasy = arc("arc_easy", "ARC-Easy");
export const arcChallenge = arc("arc_challenge", "ARC-Challenge");
