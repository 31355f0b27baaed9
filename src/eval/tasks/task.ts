/**
 * What a task is: rows of a published data set turned into the texts that lm-evaluation-harness scores. A task file says
 * only that; log-likelihood.ts scores, run-tasks.ts counts.
 */
import type { TaskRow } from "../task-rows.ts";

/** Where the Hugging Face hub has a data set; files are taken from its `refs/convert/parquet` branch. */
export interface HubDataset {
  repo: string;
  /** The configuration: "ARC-Easy". */
  config: string;
  /** What is scored. */
  split: string;
  /** Where few-shot examples are drawn; null: there is none, and they are drawn from what is scored. */
  fewshotSplit: string | null;
}

interface CommonTask {
  name: string;
  /** The harness's version of the task. */
  version: number;
  /** null where its licence lets nobody pass it on: the user gives the file. */
  dataset: HubDataset | null;
  /** What its files are called in a folder, without split and ending. */
  fileNames: readonly string[];
  /** A file of labels beside a file of rows: PIQA's original form. */
  labelFile?: RegExp;
  /**
   * The harness draws one example more than wanted, to leave out the one being scored, where its few-shot and test splits
   * are the same; it also does so for every task that names no test split. To draw what it draws, so do we.
   */
  drawsOneMore: boolean;
}

export interface ChoiceItem {
  where: string;
  /** One for each choice; the same text but for WinoGrande's. */
  contexts: readonly string[];
  /** One for each choice, with the space in front of it. */
  continuations: readonly string[];
  /** What acc_norm divides by the length of, in code points. */
  choices: readonly string[];
  gold: number;
  /** The item as an example before another: context, space and right answer. */
  example: string;
}

export interface MultipleChoiceTask extends CommonTask {
  kind: "multiple-choice";
  metrics: readonly ("acc" | "acc_norm")[];
  /** The choices are the same for all items, so that a model which always answers one of them is no chance of 1/n. */
  fixedChoices?: boolean;
  /** @throws DataError naming the line */
  read(row: TaskRow): ChoiceItem;
}

export interface ContinuationItem {
  where: string;
  context: string;
  continuation: string;
  example: string;
}

/** One text that follows another: is it what the model would write? */
export interface ContinuationTask extends CommonTask {
  kind: "continuation";
  metrics: readonly ("acc" | "perplexity")[];
  read(row: TaskRow): ContinuationItem;
}

export type LikelihoodTask = MultipleChoiceTask | ContinuationTask;

/** An item whose choices follow one context, with one space between (the harness's target delimiter). */
export function choiceItem(where: string, context: string, choices: readonly string[], gold: number): ChoiceItem {
  const continuations = choices.map((choice) => ` ${choice}`);
  return {
    where,
    contexts: choices.map(() => context),
    continuations,
    choices,
    gold,
    example: context + continuations[gold],
  };
}
