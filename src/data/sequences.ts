/**
 * Sequences of T tokens with their targets, by number: what batches are made of, and what a loader over prepared shards
 * reads. Memory holds one sequence, whatever the size of the corpus.
 *
 * Where documents follow one another, sequence i holds the tokens [i·T, i·T + T), and the target of each token is the next
 * one of the stream. Where they were fitted into sequences (best-fit packing), the last token of a sequence and those that
 * fill it up have no target.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { ignoredTarget } from "./answers.ts";
import { type DatasetManifest, openShards, readManifest, type SplitName } from "./dataset.ts";
import { streamOfShards } from "./shard-stream.ts";
import type { Shard } from "./shards.ts";
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

/** A split of a prepared dataset, opened for reading by sequence. */
export interface PreparedSplit {
  readonly manifest: DatasetManifest;
  readonly tokens: TokenStream;
  /** In order, with what each holds; `first` is its first token's position in `tokens`. */
  readonly shards: readonly { shard: Shard; file: string; tokens: number; documents: number; first: number }[];
  /** T that the shards were packed for; null where documents follow one another: any T will do. */
  readonly sequence: number | null;
  sequences(length: number): SequenceReader;
  /**
   * Sequences [from, to) that lie in shard k whole (their tokens; the last one's last target may be the next shard's
   * first token): a loader that goes shard by shard takes them, and what lies over a border belongs to the shard in which
   * it begins.
   */
  sequencesIn(shard: number, length: number): { from: number; to: number };
  /** Compares every shard with its checksum; FormatError naming one that has changed. */
  verify(onShard?: (done: number, total: number) => void): void;
  close(): void;
}

/**
 * Opens a prepared split.
 *
 * @throws DataError if the folder holds no dataset or no such split; FormatError or FileError for a shard that is damaged
 *   or missing
 */
export function openSplit(folder: string, split: SplitName = "train"): PreparedSplit {
  const manifest = readManifest(folder);
  const opened = openShards(folder, split);
  const tokens = streamOfShards(opened);
  let first = 0;
  const shards = opened.map((shard, k) => {
    const { tokenCount, documentCount } = shard.header;
    const entry = { shard, file: manifest.splits[split]!.shards[k].file, documents: documentCount, first };
    first += tokenCount;
    return { ...entry, tokens: tokenCount };
  });
  return {
    manifest,
    tokens,
    shards,
    sequence: tokens.fitted?.sequence ?? null,
    sequences: (length) => sequencesOf(tokens, length),
    sequencesIn(k, length) {
      const { count } = sequencesOf(tokens, length);
      const { first, tokens: held } = shards[k];
      return {
        from: Math.min(count, Math.ceil(first / length)),
        to: Math.min(count, Math.ceil((first + held) / length)),
      };
    },
    verify(onShard) {
      for (const [i, { shard }] of shards.entries()) {
        shard.verify();
        onShard?.(i + 1, shards.length);
      }
    },
    close: () => tokens.close(),
  };
}
