/** The targets of a batch, read once on the host: how many count in the loss, and whether all are token ids. */
import { ignoredTarget } from "../data/loss-mask.ts";
import { DataError } from "../platform/errors.ts";

export interface TargetSummary {
  /** Targets that are not -100. */
  readonly count: number;
  /** Of those; Infinity and -Infinity where there are none. */
  readonly smallest: number;
  readonly largest: number;
}

export function summarizeTargets(targets: Int32Array): TargetSummary {
  let count = 0;
  let smallest = Number.POSITIVE_INFINITY;
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i];
    if (target === ignoredTarget) continue;
    count++;
    if (target < smallest) smallest = target;
    if (target > largest) largest = target;
  }
  return { count, smallest, largest };
}

/** @throws DataError for a target that is no token of the vocabulary */
export function checkTargets({ smallest, largest }: TargetSummary, vocabSize: number): void {
  const bad = smallest < 0 ? smallest : largest >= vocabSize ? largest : null;
  if (bad !== null)
    throw new DataError(
      `model: target ${bad} is outside the vocabulary of ${vocabSize}; was the text encoded with another tokenizer?`,
    );
}
