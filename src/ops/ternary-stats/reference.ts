/**
 * Counts over ternary codes (q + 1: 0 is -1, 1 is 0, 2 is +1), and how many changed since an earlier copy: what a run
 * logs of each layer. The definition; kernel.cc must equal it.
 *
 * into[slot * 4 ..] = how many are -1, how many 0, how many +1, how many differ from `previous` (0 where it is null).
 * A byte that is no code (above 2) is counted in none of the first three.
 *
 * @param codes    [n]
 * @param previous [n], or null
 * @param into     [at least (slot + 1) * 4]; only those four are written
 */
export function ternaryStatsReference(
  codes: Uint8Array,
  previous: Uint8Array | null,
  into: Int32Array,
  n: number,
  slot: number,
): void {
  const counts = new Int32Array(4);
  for (let i = 0; i < n; i++) {
    if (codes[i] <= 2) counts[codes[i]]++;
    if (previous && codes[i] !== previous[i]) counts[3]++;
  }
  into.set(counts, slot * 4);
}

/** into = from, each [n]. */
export function copyBytesReference(into: Uint8Array, from: Uint8Array, n: number): void {
  for (let i = 0; i < n; i++) into[i] = from[i];
}
