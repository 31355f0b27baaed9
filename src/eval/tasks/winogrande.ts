/**
 * WinoGrande (Sakaguchi et al. 2019) by partial evaluation (Trinh & Le 2018): each option is put in the blank, and what
 * follows the blank is scored behind it. The harness's task `winogrande`, version 1.0.
 */
import { DataError } from "../../platform/errors.ts";
import { strip } from "../python.ts";
import { choicesField, goldField, isPrepared, type TaskRow, textField } from "../task-rows.ts";
import type { ChoiceItem, MultipleChoiceTask } from "./task.ts";

/** Rows of the hub (sentence with "_", option1, option2, answer 1 or 2), or prepared (context_options, continuation, gold). */
function read(row: TaskRow): ChoiceItem {
  if (isPrepared(row)) {
    const contexts = choicesField(row, "context_options");
    return item(row.where, contexts, textField(row, "continuation"), goldField(row, "gold", contexts.length));
  }
  const sentence = textField(row, "sentence");
  const at = sentence.indexOf("_");
  if (at < 0) throw new DataError(`${row.where}: "sentence" has no blank, written "_"`);
  const contexts = ["option1", "option2"].map((name) => sentence.slice(0, at) + textField(row, name));
  return item(row.where, contexts, strip(sentence.slice(at + 1)), goldField(row, "answer", 2, 1));
}

function item(where: string, contexts: readonly string[], target: string, gold: number): ChoiceItem {
  const continuation = ` ${target}`;
  return {
    where,
    contexts,
    continuations: contexts.map(() => continuation),
    choices: contexts,
    gold,
    example: contexts[gold] + continuation,
  };
}

export const winogrande: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "winogrande",
  version: 1,
  dataset: { repo: "allenai/winogrande", config: "winogrande_xl", split: "validation", fewshotSplit: "train" },
  fileNames: ["winogrande", "winogrande_xl"],
  drawsOneMore: true,
  metrics: ["acc"],
  read,
};
