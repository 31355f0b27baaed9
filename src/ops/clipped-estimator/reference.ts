/**
 * The clipped straight-through estimator (HardTanh; Courbariaux et al., arXiv:1602.02830) of ternary weights:
 *
 *   dw = dy where |w| <= limit · s, else 0          s: the matrix's scale
 *
 * The slow, exact definition: the bound is rounded to float32 once. kernel.cc must equal it, to the bit.
 */

/** w, dy, dw [size], scale [1]; dw is overwritten, or added to if accumulate. */
export function clippedBackward(
  w: Float32Array,
  scale: Float32Array,
  dy: Float32Array,
  dw: Float32Array,
  { size, limit, accumulate }: { size: number; limit: number; accumulate: number },
): void {
  const bound = Math.fround(Math.fround(limit) * scale[0]);
  for (let i = 0; i < size; i++) {
    const value = Math.abs(w[i]) <= bound ? dy[i] : 0;
    dw[i] = accumulate ? dw[i] + value : value;
  }
}
