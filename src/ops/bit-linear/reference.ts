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
 * are exact in it. Under precision int8, dx is a product of int8 too (`quantizeGradient`). The slow definition: float64 sums, rounded once. kernel.cc must agree with it on cases.ts.
 */
import { roundToBfloat16 } from "../../quant/bfloat16.ts";
import { roundHalfEven } from "../activation-quant/reference.ts";

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

/** Rows whose largest magnitude is below count as zero: 127 over it would not be finite. */
const leastGradient = Math.fround(1e-30);

/**
 * Output gradients to int8, one scale a row (SwitchBack's row-wise quantisation, Wortsman et al. 2023, arXiv:2304.13013,
 * section 2.2), the weights' scales taken in first, so that the weights of one launch share a row:
 *
 *   t[m] = (s_0 · dy_0[m], s_1 · dy_1[m], ...)   a = max|t[m]|   code = round(t[m] · (127 / a))   scale[m] = a / 127
 *
 * The weight gradient keeps the float dy, as it does there: its sum runs over all tokens.
 *
 * @param codes [M, sum of N_i], scale [M] and sums [M] (of each row's codes) are overwritten. A row that is not finite has
 *              codes 0 and a scale that is not finite, so that its product is NaN
 */
export function quantizeGradient(
  terms: readonly InputGradientTerm[],
  codes: Int8Array,
  scale: Float32Array,
  sums: Int32Array,
  m: number,
): void {
  for (let i = 0, at = 0; i < m; i++) {
    const row = terms.flatMap(({ dy, scale: s, n }) =>
      Array.from(dy.subarray(i * n, (i + 1) * n), (g) => Math.fround(g * s)),
    );
    const absmax = row.reduce((most, t) => Math.max(most, Math.abs(t)), 0);
    const factor = absmax < leastGradient ? 0 : Math.fround(127 / absmax);
    scale[i] = absmax < leastGradient ? 0 : absmax / 127;
    sums[i] = 0;
    for (const t of row) {
      const code = Number.isFinite(absmax) ? roundHalfEven(Math.fround(t * factor)) : 0;
      codes[at++] = code;
      sums[i] += code;
    }
  }
}

/** dx [M, K] = row scale · (codes · q), with the weights' codes q_i + 1 [N_i, K] one below the other. */
export function bitLinearBackwardInputInt8(
  gradient: { codes: Int8Array; scale: Float32Array },
  weights: readonly { codes: Uint8Array; n: number }[],
  dx: Float32Array,
  m: number,
  k: number,
  accumulate: number,
): void {
  for (let i = 0, at = 0; i < m; i++) {
    const sums = new Float64Array(k);
    for (const { codes, n } of weights)
      for (let j = 0; j < n; j++, at++)
        for (let p = 0; p < k; p++) sums[p] += gradient.codes[at] * (codes[j * k + p] - 1);
    for (let p = 0; p < k; p++) {
      const value = sums[p] * gradient.scale[i];
      dx[i * k + p] = accumulate ? dx[i * k + p] + value : value;
    }
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
