/** Shards in a row as one stream of tokens, and what their packing says of its sequences. */
import { DataError, FormatError } from "../platform/errors.ts";
import { createHasher } from "../platform/hash.ts";
import type { Shard } from "./shards.ts";
import type { TokenStream } from "./token-stream.ts";

/** Shards in order as one stream. FormatError if they come from different tokenizers. Closing it closes them. */
export function streamOfShards(shards: readonly Shard[]): TokenStream {
  if (shards.length === 0) throw new DataError("there are no token shards to read");
  const [first] = shards;
  const fitted = ({ header }: Shard) => (header.packing?.bestFit ? header.packing.sequence : 0);
  for (const shard of shards) {
    if (shard.header.tokenizerHash !== first.header.tokenizerHash || shard.header.vocabSize !== first.header.vocabSize)
      throw new FormatError(
        `${shard.path}: was made with another tokenizer than ${first.path}; prepare the data again`,
      );
    if (fitted(shard) !== fitted(first))
      throw new FormatError(`${shard.path}: was packed in another way than ${first.path}; prepare the data again`);
  }
  const ends: number[] = [];
  let tokenCount = 0;
  let documentCount = 0;
  let textBytes = 0;
  const identity = createHasher();
  for (const { header } of shards) {
    tokenCount += header.tokenCount;
    ends.push(tokenCount);
    documentCount += header.documentCount;
    textBytes += header.textBytes;
    identity.update(header.contentHash);
  }
  /** The shard that holds a position: thousands of shards, so by halving. */
  const shardAt = (position: number): number => {
    let [low, high] = [0, ends.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (position < ends[middle]) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  const startOf = (k: number) => (k === 0 ? 0 : ends[k - 1]);
  const sequence = fitted(first);
  return {
    tokenCount,
    documentCount,
    textBytes,
    vocabSize: first.header.vocabSize,
    endOfText: first.header.endOfText,
    identity: identity.hex(),
    ...(sequence > 0 && {
      fitted: {
        sequence,
        usedOf(row) {
          if (!(row >= 0 && row * sequence < tokenCount))
            throw new Error(`sequence ${row} asked of ${tokenCount / sequence}`);
          const k = shardAt(row * sequence);
          return shards[k].usedOf(row - startOf(k) / sequence);
        },
      },
    }),
    read(position, target) {
      if (position < 0 || position + target.length > tokenCount)
        throw new Error(`tokens ${position} to ${position + target.length} asked of ${tokenCount}`);
      for (let done = 0, k = shardAt(position); done < target.length; k++) {
        const at = position + done;
        const n = Math.min(target.length - done, ends[k] - at);
        shards[k].read(at - startOf(k), target.subarray(done, done + n));
        done += n;
      }
    },
    close() {
      for (const shard of shards) shard.close();
    },
  };
}
