/**
 * Scores of sequences that follow from the shards alone: the length of the documents in them, or the score that these came
 * with (FineWeb-Edu's, say). A sequence's is the mean over its tokens of their document's; what fills a sequence up does not
 * count. The loss of a reference model is eval/'s to compute.
 */
import { DataError } from "../../platform/errors.ts";
import { nextTurn } from "../../platform/turn.ts";
import type { PreparedSplit } from "../prepared-split.ts";
import type { Shard, ShardPiece } from "../shards.ts";

export interface DifficultyOptions {
  onShard?: (done: number, total: number) => void;
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
}

/** Tokens of the document, its end-of-text token included. */
export const lengthScores = (
  split: PreparedSplit,
  sequence: number,
  options: DifficultyOptions = {},
): Promise<Float32Array> => meanOverTokens(split, sequence, (k) => documentLengths(split, k), options);

/**
 * The score that each document was prepared with.
 *
 * @throws DataError for a dataset without scores, or a document without one
 */
export function documentScores(
  split: PreparedSplit,
  sequence: number,
  options: DifficultyOptions = {},
): Promise<Float32Array> {
  return meanOverTokens(
    split,
    sequence,
    (k) => {
      const { path, header } = split.shards[k].shard;
      if (!header.packing?.scores)
        throw new DataError(
          `${path}: its documents have no scores; prepare them from a source with a score field (--score-field), in sequences`,
        );
      return (piece) => {
        if (Number.isNaN(piece.score))
          throw new DataError(`${path}: document ${piece.document} has no score; filter such documents out`);
        return piece.score;
      };
    },
    options,
  );
}

/** Adds up value · tokens of each piece over the sequences that it lies in. */
async function meanOverTokens(
  split: PreparedSplit,
  sequence: number,
  valuesOf: (shard: number) => (piece: ShardPiece) => number,
  { onShard, signal }: DifficultyOptions,
): Promise<Float32Array> {
  const { count } = split.sequences(sequence);
  const sums = new Float64Array(count);
  const tokens = new Uint32Array(count);
  for (const [k, { shard, first }] of split.shards.entries()) {
    const valueFor = valuesOf(k);
    for (const piece of shard.pieces()) {
      const value = valueFor(piece);
      const end = first + piece.start + piece.length;
      for (let at = first + piece.start; at < end; ) {
        const i = Math.floor(at / sequence);
        const next = Math.min(end, (i + 1) * sequence);
        // The end of a stream that fills no sequence belongs to none.
        if (i < count) {
          sums[i] += value * (next - at);
          tokens[i] += next - at;
        }
        at = next;
      }
    }
    onShard?.(k + 1, split.shards.length);
    // A signal is heard between two shards.
    await nextTurn();
    signal?.throwIfAborted();
  }
  return Float32Array.from(sums, (sum, i) => sum / tokens[i]);
}

/** The length of the document that a piece of shard k belongs to. */
function documentLengths({ shards }: PreparedSplit, k: number): (piece: ShardPiece) => number {
  const { shard } = shards[k];
  if (shard.header.packing?.bestFit) {
    // Its pieces lie anywhere in the shard.
    const lengths = new Map<number, number>();
    for (const { document, length } of shard.pieces()) lengths.set(document, (lengths.get(document) ?? 0) + length);
    return ({ document }) => lengths.get(document)!;
  }
  // Documents follow one another: one piece each, but for what goes on over the border of a shard.
  const after = continuation(shards, k + 1);
  return ({ start, length, at }) => at + length + (start + length === shard.header.tokenCount ? after : 0);
}

/** Tokens from shard k on of the document that the shard before broke off. */
function continuation(shards: PreparedSplit["shards"], k: number): number {
  let tokens = 0;
  for (; k < shards.length; k++) {
    const piece = firstPiece(shards[k].shard);
    if (!piece || piece.at === 0) break;
    tokens += piece.length;
    if (piece.length < shards[k].tokens) break;
  }
  return tokens;
}

function firstPiece(shard: Shard): ShardPiece | undefined {
  for (const piece of shard.pieces()) return piece;
  return undefined;
}
