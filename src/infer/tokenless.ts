/**
 * Ids that a model has and its tokenizer has not: vocabularies are padded to round numbers (phi-2 has 51,200 rows for 50,295
 * tokens), and files number tokens with gaps. Such an id stands for no text, so it is never drawn: its probability is 0.
 * Called by writer.ts and beam.ts.
 */
import type { Tokenizer } from "../tokenizer/index.ts";

const known = new WeakMap<object, { vocabSize: number; ids: Int32Array }>();

/** @param vocabSize the model's. @returns sets the logits of ids without a token to -Infinity */
export function tokenlessMask(
  tokenizer: Pick<Tokenizer, "vocabSize"> & Partial<Pick<Tokenizer, "tokenOf">>,
  vocabSize: number,
): (logits: Float32Array) => void {
  let found = known.get(tokenizer);
  if (found?.vocabSize !== vocabSize) {
    const ids: number[] = [];
    for (let id = 0; id < vocabSize; id++)
      if (id >= tokenizer.vocabSize || (tokenizer.tokenOf && tokenizer.tokenOf(id) === undefined)) ids.push(id);
    found = { vocabSize, ids: Int32Array.from(ids) };
    known.set(tokenizer, found);
  }
  const { ids } = found;
  return (logits) => {
    for (const id of ids) logits[id] = Number.NEGATIVE_INFINITY;
  };
}
