/**
 * Embedding: row ids[n] of the table, and the gradient scattered back into the table's rows.
 *
 * The slow, exact definition, forward and backward. kernel.cc must agree with it on cases.ts.
 */

/**
 * y[n] = table[ids[n]]. An id outside 0..V-1 reads nothing and gives a row of NaN, so that a mistake shows in the loss;
 * callers check ids before (the tokenizer's vocabulary against the model's).
 *
 * @param ids   [N]
 * @param table [V, C]
 * @param y     [N, C], overwritten
 */
export function embeddingForward(
  ids: Int32Array,
  table: Float32Array,
  y: Float32Array,
  count: number,
  vocabulary: number,
  width: number,
): void {
  for (let n = 0; n < count; n++) {
    const id = ids[n];
    const known = id >= 0 && id < vocabulary;
    for (let c = 0; c < width; c++) y[n * width + c] = known ? table[id * width + c] : Number.NaN;
  }
}

/**
 * dtable[v] = sum of dy[n] over the n with ids[n] = v, added in float32 in the order of n. An id outside 0..V-1 adds
 * nothing.
 *
 * @param dtable [V, C], overwritten, or added to when accumulate is 1
 */
export function embeddingBackward(
  ids: Int32Array,
  dy: Float32Array,
  dtable: Float32Array,
  count: number,
  vocabulary: number,
  width: number,
  accumulate: number,
): void {
  if (!accumulate) dtable.fill(0);
  for (let n = 0; n < count; n++) {
    const id = ids[n];
    if (id < 0 || id >= vocabulary) continue;
    for (let c = 0; c < width; c++) dtable[id * width + c] += dy[n * width + c];
  }
}
