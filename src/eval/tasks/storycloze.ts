/**
 * StoryCloze (Mostafazadeh et al. 2016): which of two sentences ends a story of four. The harness's task
 * `storycloze_2016`, version 1.0. Its licence lets nobody pass the data on: ask its authors for the CSV and give that file.
 */
import { goldField, type TaskRow, textField } from "../task-rows.ts";
import { type ChoiceItem, choiceItem, type MultipleChoiceTask } from "./task.ts";

/** The CSV's column, by the name in the authors' file or by the one in the hub's. */
const field = (row: TaskRow, published: string, hub: string) => textField(row, hub in row.value ? hub : published);

function read(row: TaskRow): ChoiceItem {
  const sentences = [1, 2, 3, 4].map((i) => field(row, `InputSentence${i}`, `input_sentence_${i}`));
  const endings = [1, 2].map((i) => field(row, `RandomFifthSentenceQuiz${i}`, `sentence_quiz${i}`));
  const gold = "answer_right_ending" in row.value ? "answer_right_ending" : "AnswerRightEnding";
  return choiceItem(row.where, sentences.join(" "), endings, goldField(row, gold, 2, 1));
}

export const storycloze: MultipleChoiceTask = {
  kind: "multiple-choice",
  name: "storycloze_2016",
  version: 1,
  dataset: null,
  fileNames: ["storycloze_2016", "storycloze", "cloze_test_test__spring2016"],
  drawsOneMore: false,
  metrics: ["acc"],
  read,
};
