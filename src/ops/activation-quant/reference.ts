/**
 * Activations to int8 with one scale for each row (absmax; L is 127 in BitNet b1.58, 7 for four bits):
 *
 *   a = max(max|x|, eps)    code = round(x · (L / a))    scale = a / L    so x ≈ code · scale
 *
 * Rounding is half to even, and no code passes ±L since |x| <= a. Every step is float32. The slow definition:
 * kernel.cc must agree with it on cases.ts.
 */
import { roundHalfEven } from "../../quant/rounding.ts";

/** L of eight and of four bits: codes are symmetric around 0. */
export const int8Levels = 127;
export const int4Levels = 7;

/**
 * @param x     [M, K]
 * @param codes [M, K], overwritten
 * @param scale [M], overwritten. NaN for a row with a NaN, infinite for one with an infinity, and the codes of both are
 *              0: products of such a row are NaN, never plausible numbers
 * @param sums  [M], overwritten with the sum of each row's codes, which the product with unsigned weight codes wants
 */
export function quantizeActivations(
  x: Float32Array,
  codes: Int8Array,
  scale: Float32Array,
  sums: Int32Array,
  rows: number,
  width: number,
  eps: number,
  levels = int8Levels,
): void {
  for (let m = 0; m < rows; m++) {
    const row = x.subarray(m * width, (m + 1) * width);
    let absmax = Math.fround(eps);
    // Math.max keeps NaN.
    for (const value of row) absmax = Math.max(absmax, Math.abs(value));
    const factor = Math.fround(levels / absmax);
    scale[m] = absmax / levels;
    let sum = 0;
    for (let k = 0; k < width; k++) {
      const code = Number.isFinite(absmax) ? roundHalfEven(Math.fround(row[k] * factor)) : 0;
      codes[m * width + k] = code;
      sum += code;
    }
    sums[m] = sum;
  }
}
