/**
 * RMSNorm, then int8 codes of each row: `quantizeActivations(rmsNorm(x))`, the prologue of a BitLinear layer. Both parts
 * are defined in ops/rms-norm and ops/activation-quant; kernel.cc does them in one pass.
 */
import { quantizeActivations } from "../activation-quant/reference.ts";
import { rmsNormForward } from "../rms-norm/reference.ts";

/**
 * @param x       [M, K]
 * @param gain    [K]
 * @param codes   [M, K], overwritten, as scale [M] and sums [M]
 * @param inverse [M], overwritten with 1 / sqrt(mean(x²) + eps)
 */
export function normQuantForward(
  a: {
    x: Float32Array;
    gain: Float32Array;
    codes: Int8Array;
    scale: Float32Array;
    sums: Int32Array;
    inverse: Float32Array;
  },
  rows: number,
  width: number,
  eps: number,
  quantEps: number,
): void {
  const normed = new Float32Array(rows * width);
  rmsNormForward(a.x, a.gain, normed, a.inverse, rows, width, eps);
  quantizeActivations(normed, a.codes, a.scale, a.sums, rows, width, quantEps);
}
