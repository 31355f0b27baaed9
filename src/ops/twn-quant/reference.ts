/**
 * Ternary weight networks (Li et al., arXiv:1605.04711), with one scale for the matrix:
 *
 *   d = threshold · mean|w|    q = sign(w) where |w| > d, else 0    s = mean of |w| where q is not 0, at least eps
 *
 * For these q that s has the least squared error. With `survivors` off, s is mean|w|, absmean's level. Means are summed in float64
 * and rounded to float32; the rest is float32. The slow definition: kernel.cc must agree with it on cases.ts.
 */

export interface TwnParams {
  /** Of mean|w|, above 0: 0.7 in the paper. */
  threshold: number;
  /** 1: s is the mean of the weights that are not 0; 0: of all. */
  survivors: number;
  /** The least scale. */
  eps: number;
}

/**
 * @param w     [N, K]
 * @param codes [N, K], overwritten with q + 1: 0, 1 or 2
 * @param scale [1], overwritten with s. With a NaN or an infinity in w it is NaN or infinite, and q is 0
 */
export function quantizeTwn(
  w: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  { threshold, survivors, eps }: TwnParams,
): void {
  let sum = 0;
  for (const value of w) sum += Math.abs(value);
  const mean = Math.fround(sum / w.length);
  const d = Math.fround(Math.fround(threshold) * mean);
  let above = 0;
  let count = 0;
  for (let i = 0; i < w.length; i++) {
    const magnitude = Math.abs(w[i]);
    // Beside an infinite or a NaN threshold nothing is above.
    codes[i] = w[i] > d ? 2 : w[i] < -d ? 0 : 1;
    if (codes[i] === 1) continue;
    above += magnitude;
    count++;
  }
  const level = survivors !== 0 && Number.isFinite(mean) ? (count > 0 ? Math.fround(above / count) : 0) : mean;
  // Math.max keeps NaN.
  scale[0] = Math.max(level, Math.fround(eps));
}
