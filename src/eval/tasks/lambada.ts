/**
 * LAMBADA (Paperno et al. 2016), OpenAI's text: the last word of a passage. Accuracy is of greedy decoding, perplexity is
 * e to the mean negative log-likelihood of the word. The harness's task `lambada_openai`, version 1.0.
 */
import { DataError } from "../../platform/errors.ts";
import { type TaskRow, textField } from "../task-rows.ts";
import type { ContinuationItem, ContinuationTask } from "./task.ts";

/** Rows of the hub (text), or prepared ones (context, continuation). */
function read(row: TaskRow): ContinuationItem {
  const { where } = row;
  if ("continuation" in row.value || "context" in row.value)
    return item(where, textField(row, "context"), textField(row, "continuation").replace(/^ /, ""));
  const text = textField(row, "text");
  const at = text.lastIndexOf(" ");
  if (at <= 0 || at === text.length - 1)
    throw new DataError(`${where}: "text" has no last word behind a space; expected a passage and its last word`);
  return item(where, text.slice(0, at), text.slice(at + 1));
}

// As an example, the harness puts its delimiter before a target that begins with a space: two.
const item = (where: string, context: string, word: string): ContinuationItem => ({
  where,
  context,
  continuation: ` ${word}`,
  example: `${context}  ${word}`,
});

export const lambada: ContinuationTask = {
  kind: "continuation",
  name: "lambada_openai",
  version: 1,
  dataset: { repo: "EleutherAI/lambada_openai", config: "default", split: "test", fewshotSplit: null },
  fileNames: ["lambada_openai", "lambada"],
  drawsOneMore: false,
  metrics: ["perplexity", "acc"],
  read,
};
