/**
 * BitLinear's products (BitNet b1.58, arXiv:2402.17764), with x int8 codes [M, K] and x_scale [M] of
 * ops/activation-quant, and weight codes q + 1 [N, K] and scale s [1] of ops/weight-quant:
 *
 *   forward    y[m, n]  = (sum over k of x[m, k] · q[n, k]) · (x_scale[m] · s)    the sum an exact integer
 *   backward   dx[m, k] = s · sum over n of dy[m, n] · q[n, k]
 *              dw[n, k] = sum over m of (dy[m, n] · x_scale[m]) · x[m, k]
 *
 * The backward is straight-through: both quantisers count as the identity, also where they clip, and the other factor
 * is the quantised one. With bf16 = 1 the factor that is not a code (dy, and dy · x_scale) is rounded to bfloat16; codes
 * are exact in it. Under precision int8 both gradients are products of int8
 * (int8-reference.ts). The slow definition: float64 sums, rounded once. kernel.cc must agree with it on cases.ts.
 */
import { roundToBfloat16 } from "../../quant/bfloat16.ts";

/** y [M, N] is overwritten; `residual` [M, N], where there is one, is added to it. `sums` are the row sums of x, used as the kernels use them: x · (q + 1) less the row's sum. */
export function bitLinearForward(
  x: Int8Array,
  xScale: Float32Array,
  sums: Int32Array,
  codes: Uint8Array,
  scale: number,
  y: Float32Array,
  m: number,
  n: number,
  k: number,
  residual: Float32Array | null = null,
): void {
  for (let i = 0; i < m; i++) {
    const times = Math.fround(xScale[i] * scale);
    for (let j = 0; j < n; j++) {
      let sum = -sums[i];
      for (let p = 0; p < k; p++) sum += x[i * k + p] * codes[j * k + p];
      y[i * n + j] = residual ? residual[i * n + j] + Math.fround(sum * times) : sum * times;
    }
  }
}

/** One weight's part of the input gradient. */
export interface InputGradientTerm {
  dy: Float32Array;
  codes: Uint8Array;
  scale: number;
  n: number;
}

/** dx [M, K] = the sum of all terms; added to what is there when accumulate is 1. */
export function bitLinearBackwardInput(
  terms: readonly InputGradientTerm[],
  dx: Float32Array,
  m: number,
  k: number,
  accumulate: number,
  bf16: number,
): void {
  for (let i = 0; i < m; i++) {
    const total = new Float64Array(k);
    for (const { dy, codes, scale, n } of terms) {
      const sums = new Float64Array(k);
      for (let j = 0; j < n; j++) {
        const g = bf16 ? roundToBfloat16(dy[i * n + j]) : dy[i * n + j];
        for (let p = 0; p < k; p++) sums[p] += g * (codes[j * k + p] - 1);
      }
      for (let p = 0; p < k; p++) total[p] += sums[p] * scale;
    }
    for (let p = 0; p < k; p++) dx[i * k + p] = accumulate ? dx[i * k + p] + total[p] : total[p];
  }
}

/** dw [N, K]; added to what is there when accumulate is 1. */
export function bitLinearBackwardWeight(
  dy: Float32Array,
  x: Int8Array,
  xScale: Float32Array,
  dw: Float32Array,
  m: number,
  n: number,
  k: number,
  accumulate: number,
  bf16: number,
): void {
  for (let j = 0; j < n; j++) {
    const sums = new Float64Array(k);
    for (let i = 0; i < m; i++) {
      const scaled = Math.fround(dy[i * n + j] * xScale[i]);
      const g = bf16 ? roundToBfloat16(scaled) : scaled;
      for (let p = 0; p < k; p++) sums[p] += g * x[i * k + p];
    }
    for (let p = 0; p < k; p++) dw[j * k + p] = accumulate ? dw[j * k + p] + sums[p] : sums[p];
  }
}
