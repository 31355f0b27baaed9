/**
 * Weighted sums of whole arrays: several losses as one, and values of several arrays side by side in one.
 *
 * The slow, exact definition: each product and each sum rounds to float32 once. kernel.cc must equal it, to the bit.
 */

const f = Math.fround;

/** into[offset + i] = (accumulate ? into[offset + i] : 0) + factor · x[i], for n values. */
export function addScaled(
  x: Float32Array,
  into: Float32Array,
  { n, offset, factor, accumulate }: { n: number; offset: number; factor: number; accumulate: number },
): void {
  for (let i = 0; i < n; i++) {
    const scaled = f(f(factor) * x[i]);
    into[offset + i] = accumulate ? into[offset + i] + scaled : scaled;
  }
}
