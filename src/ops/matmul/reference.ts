/**
 * Matrix products with weights as they are stored, [N, K]: y = x · wᵀ, dx = dy · w, dw = dyᵀ · x.
 *
 * The slow definition: float64 sums, rounded once. With bf16 = 1, both operands are first rounded to bfloat16 (half to
 * even), as the kernels do. kernel.cc must agree with it on cases.ts.
 */
import { roundToBfloat16 } from "../../quant/bfloat16.ts";

function operand(values: Float32Array, bf16: number): Float32Array {
  return bf16 ? values.map(roundToBfloat16) : values;
}

/** y [M, N] = x [M, K] · w [N, K]ᵀ; y is overwritten. */
export function matmulForward(
  x: Float32Array,
  w: Float32Array,
  y: Float32Array,
  m: number,
  n: number,
  k: number,
  bf16: number,
): void {
  const a = operand(x, bf16);
  const b = operand(w, bf16);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[i * k + p] * b[j * k + p];
      y[i * n + j] = sum;
    }
  }
}

/** dx [M, K] = dy [M, N] · w [N, K]; added to what is there when accumulate is 1. */
export function matmulBackwardInput(
  dy: Float32Array,
  w: Float32Array,
  dx: Float32Array,
  m: number,
  n: number,
  k: number,
  accumulate: number,
  bf16: number,
): void {
  const a = operand(dy, bf16);
  const b = operand(w, bf16);
  for (let i = 0; i < m; i++) {
    const sums = new Float64Array(k);
    for (let j = 0; j < n; j++) for (let p = 0; p < k; p++) sums[p] += a[i * n + j] * b[j * k + p];
    for (let p = 0; p < k; p++) dx[i * k + p] = accumulate ? dx[i * k + p] + sums[p] : sums[p];
  }
}

/** dw [N, K] = dy [M, N]ᵀ · x [M, K]; added to what is there when accumulate is 1. */
export function matmulBackwardWeight(
  dy: Float32Array,
  x: Float32Array,
  dw: Float32Array,
  m: number,
  n: number,
  k: number,
  accumulate: number,
  bf16: number,
): void {
  const a = operand(dy, bf16);
  const b = operand(x, bf16);
  for (let j = 0; j < n; j++) {
    const sums = new Float64Array(k);
    for (let i = 0; i < m; i++) for (let p = 0; p < k; p++) sums[p] += a[i * n + j] * b[i * k + p];
    for (let p = 0; p < k; p++) dw[j * k + p] = accumulate ? dw[j * k + p] + sums[p] : sums[p];
  }
}
