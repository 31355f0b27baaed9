/**
 * Weights to ternary with the median magnitude as the scale (absmedian, arXiv:2407.09527):
 *
 *   add    s = median|w| + eps        q = clip(round(w / s), -1, 1)
 *   clamp  s = max(median|w|, eps)    q = clip(round(w · (1 / s)), -1, 1)
 *
 * Both as absmean has them (ops/weight-quant), with the median in the mean's place. Of an even count the median is the lower of
 * the two in the middle, as PyTorch's `median` takes it: always one of the magnitudes, so that it is exact and the same on every
 * backend. The slow definition: kernel.cc must equal it, to the bit.
 */
import { codesOfScale, type ScaleRule } from "../weight-quant/reference.ts";

/**
 * @param w     [N, K]
 * @param codes [N, K], overwritten with q + 1: 0, 1 or 2
 * @param scale [1], overwritten with s. With a NaN or an infinity in w it is NaN, and q is 0
 */
export function quantizeByMedian(
  w: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  rule: ScaleRule,
  eps: number,
): void {
  const magnitudes = w.map(Math.abs).sort(); // of numbers, NaN last
  const middle = magnitudes[(magnitudes.length - 1) >> 1];
  const median = Number.isFinite(magnitudes.at(-1)) ? middle : Number.NaN;
  codesOfScale(w, codes, scale, median, rule, eps);
}
