/** A split of a prepared dataset, opened for reading by sequence: the files under a token stream, with their borders. */
import { type DatasetManifest, openShards, readManifest, type SplitName } from "./dataset.ts";
import { type SequenceReader, sequencesOf } from "./sequences.ts";
import { streamOfShards } from "./shard-stream.ts";
import type { Shard } from "./shards.ts";
import type { TokenStream } from "./token-stream.ts";

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
