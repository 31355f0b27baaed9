/**
 * Sequences of T tokens with their targets, by number: what batches are made of, and what a loader over prepared shards
 * (prepared-split.ts) reads. Memory holds one sequence, whatever the size of the corpus. Knows no files.
 *
 * Where documents follow one another, sequence i holds the tokens [i·T, i·T + T), and the target of each token is the next
 * one of the stream. Where they were fitted into sequences (best-fit packing), the last token of a sequence and those that
 * fill it up have no target.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { ignoredTarget } from "./loss-mask.ts";
import type { TokenStream } from "./token-stream.ts";

export interface SequenceReader {
  /** T */
  readonly length: number;
  readonly count: number;
  /** Names the content and how it is cut: a saved position is only good for the reader it was saved of. */
  readonly identity: string;
  /** Fills sequence `index`: tokens and targets, both [T]; a target that does not count is -100. */
  read(index: number, tokens_T: Int32Array, targets_T: Int32Array): void;
}

/**
 * The sequences of a stream.
 *
 * @throws DataError for a stream without one sequence; UsageError for a length that is none, or not the one that the
 *   stream was packed for
 */
export function sequencesOf(tokens: TokenStream, length: number): SequenceReader {
  if (!(Number.isInteger(length) && length >= 1))
    throw new UsageError(`sequence is ${length}; expected a whole number from 1`);
  const { fitted, tokenCount } = tokens;
  if (fitted && fitted.sequence !== length)
    throw new UsageError(
      `the data were packed into sequences of ${fitted.sequence} tokens, and ${length} are asked for; take sequences of ${fitted.sequence}, or prepare the data for ${length}`,
    );
  const count = fitted ? tokenCount / length : Math.floor((tokenCount - 1) / length);
  if (count < 1)
    throw new DataError(
      `a sequence of ${length} tokens needs ${length + 1} tokens of text, but the data have ${tokenCount}; give more text or a shorter sequence`,
    );
  const row = new Int32Array(length + 1);
  return {
    length,
    count,
    identity: `${tokens.identity}/${length}`,
    read(index, tokens_T, targets_T) {
      if (!(index >= 0 && index < count)) throw new Error(`sequence ${index} asked of ${count}`);
      if (!fitted) {
        tokens.read(index * length, row);
        tokens_T.set(row.subarray(0, length));
        targets_T.set(row.subarray(1));
        return;
      }
      tokens.read(index * length, tokens_T);
      const last = fitted.usedOf(index) - 1;
      targets_T.set(tokens_T.subarray(1, last + 1));
      targets_T.fill(ignoredTarget, last);
    },
  };
}
