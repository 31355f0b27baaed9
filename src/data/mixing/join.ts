/** Several parts of one source as one: the sequences of each behind those of the one before. */
import { createHasher } from "../../platform/hash.ts";
import type { SequenceReader } from "../sequences.ts";

/** @param parts of one length, at least one */
export function joinSequences(parts: readonly SequenceReader[]): SequenceReader {
  if (parts.length === 1) return parts[0];
  const identity = createHasher();
  const ends: number[] = [];
  let count = 0;
  for (const part of parts) {
    count += part.count;
    ends.push(count);
    identity.update(`${part.identity}\n`);
  }
  return {
    length: parts[0].length,
    count,
    identity: identity.hex(),
    read(index, tokens_T, targets_T) {
      const k = ends.findIndex((end) => index < end);
      if (!(index >= 0) || k < 0) throw new Error(`sequence ${index} asked of ${count}`);
      parts[k].read(k === 0 ? index : index - ends[k - 1], tokens_T, targets_T);
    },
  };
}
