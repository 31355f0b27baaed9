/** The definition of cache-append: a copy of rows to their place. */
export function cacheAppendReference(
  cache: Float32Array,
  rows: Float32Array,
  batch: number,
  capacity: number,
  length: number,
  width: number,
  start: number,
): void {
  for (let b = 0; b < batch; b++)
    cache.set(rows.subarray(b * length * width, (b + 1) * length * width), (b * capacity + start) * width);
}
