/**
 * Weights to ternary with one scale for the matrix (absmean, BitNet b1.58, arXiv:2402.17764). Two rules are in use:
 *
 *   add    s = mean|w| + eps        q = clip(round(w / s), -1, 1)          the paper's
 *   clamp  s = max(mean|w|, eps)    q = clip(round(w · (1 / s)), -1, 1)    the authors' code, and Hugging Face's
 *
 * so w ≈ s · q. Rounding is half to even; every step but the mean's sum is float32. The slow definition: kernel.cc must
 * agree with it on cases.ts.
 */

export type ScaleRule = "add" | "clamp";

/**
 * @param w     [N, K]
 * @param codes [N, K], overwritten with q + 1: 0, 1 or 2
 * @param scale [1], overwritten with s. With a NaN or an infinity in w it is NaN or infinite, and q is 0 where it would
 *              be NaN: the products of such weights are NaN, never plausible numbers
 */
export function quantizeWeights(
  w: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  rule: ScaleRule,
  eps: number,
): void {
  let sum = 0;
  for (const value of w) sum += Math.abs(value);
  const mean = Math.fround(sum / w.length);
  codesOfScale(w, codes, scale, mean, rule, eps);
}

/** Scale and codes from the level (the mean of |w|, or another measure of it), by the rules above. */
export function codesOfScale(
  w: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  level: number,
  rule: ScaleRule,
  eps: number,
): void {
  const e = Math.fround(eps);
  // Math.max keeps NaN.
  const s = rule === "add" ? Math.fround(level + e) : Math.max(level, e);
  const inverse = Math.fround(1 / s);
  scale[0] = s;
  for (let i = 0; i < w.length; i++) {
    const t = Math.fround(rule === "add" ? w[i] / s : w[i] * inverse);
    // Half to even, then clipped: ±0.5 is 0, and whatever is beyond is ±1. A NaN is neither.
    codes[i] = t > 0.5 ? 2 : t < -0.5 ? 0 : 1;
  }
}
