/**
 * BitLinear's gradients under precision int8: dy rounded to int8 codes, and products of int8 with the codes that forward
 * had. The slow definition: kernel.cc must agree with it on cases.ts.
 */
import { roundHalfEven } from "../../quant/rounding.ts";
import type { InputGradientTerm } from "./reference.ts";

/** Rows that share a column's scale: enough that their product costs more than its conversion, few enough for one scale. */
export const gradientBlock = 512;

/** Where the largest magnitude is below, the codes count as zero: 127 over it would not be finite. */
const leastGradient = Math.fround(1e-30);

/**
 * What int8 codes of values up to `absmax` are multiplied by, and their scale. Where that is not finite codes are 0 and the
 * scale is not finite either: products are NaN, never plausible numbers.
 */
function codeScale(absmax: number): { code: (t: number) => number; scale: number } {
  if (absmax < leastGradient) return { code: () => 0, scale: 0 };
  const factor = Math.fround(127 / absmax);
  return {
    code: (t) => (Number.isFinite(absmax) ? roundHalfEven(Math.fround(t * factor)) : 0),
    scale: absmax / 127,
  };
}

/** int8 codes [M, N] of all terms side by side, N the sum of N_i; a scale and a sum of codes for each row or column. */
export interface GradientCodes {
  codes: Int8Array;
  scale: Float32Array;
  sums: Int32Array;
}

/**
 * Output gradients to int8, twice. The factor that does not depend on the sum's index is taken in first, so that the
 * weights of one launch share a row; every step is float32, rounding half to even:
 *
 *   rows      t[m, n] = s_i · dy_i[m, n]         a = max|t| of the row                     scale [M]
 *   columns   t[m, n] = dy_i[m, n] · x_scale[m]  a = max|t| of the column in the block     scale [blocks, N]
 *   code = round(t · (127 / a))   scale = a / 127
 *
 * Rows are for dx, whose sum runs along them (SwitchBack, Wortsman et al. 2023, arXiv:2304.13013, section 2.2). dw sums over
 * tokens, of which a few can have most of the gradient: columns have a scale for each block of `block` rows (block-wise
 * quantisation, Jetfire, Xi et al. 2024, arXiv:2403.12422, section 4). All arrays are overwritten.
 */
export function quantizeGradient(
  terms: readonly InputGradientTerm[],
  xScale: Float32Array,
  rows: GradientCodes,
  columns: GradientCodes,
  m: number,
  block: number,
): void {
  const width = terms.reduce((sum, { n }) => sum + n, 0);
  const dy = Array.from({ length: m }, (_, i) =>
    terms.flatMap((t) => Array.from(t.dy.subarray(i * t.n, (i + 1) * t.n))),
  );
  const scales = terms.flatMap((t) => Array<number>(t.n).fill(t.scale));
  const largest = (values: number[]) => values.reduce((most, t) => Math.max(most, Math.abs(t)), 0);

  for (let i = 0; i < m; i++) {
    const row = dy[i].map((g, j) => Math.fround(g * scales[j]));
    const { code, scale } = codeScale(largest(row));
    const codes = row.map(code);
    rows.codes.set(codes, i * width);
    rows.scale[i] = scale;
    rows.sums[i] = codes.reduce((a, b) => a + b);
  }
  for (let from = 0, b = 0; from < m; from += block, b++)
    for (let j = 0; j < width; j++) {
      const column = dy.slice(from, from + block).map((row, i) => Math.fround(row[j] * xScale[from + i]));
      const { code, scale } = codeScale(largest(column));
      const codes = column.map(code);
      for (const [i, c] of codes.entries()) columns.codes[(from + i) * width + j] = c;
      columns.scale[b * width + j] = scale;
      columns.sums[b * width + j] = codes.reduce((a, b) => a + b);
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

/**
 * dw [N, K] = sum over blocks of scale[block, n] · (codes of the block)ᵀ · (x of the block). The weight's codes and scales
 * begin `at` columns into rows of `width`.
 */
export function bitLinearBackwardWeightInt8(
  gradient: { codes: Int8Array; scale: Float32Array },
  x: Int8Array,
  dw: Float32Array,
  p: { m: number; n: number; k: number; block: number; at: number; width: number; accumulate: number },
): void {
  const { m, n, k, block, at, width, accumulate } = p;
  for (let j = 0; j < n; j++) {
    const total = new Float64Array(k);
    for (let from = 0, b = 0; from < m; from += block, b++) {
      const sums = new Float64Array(k);
      for (let i = from; i < Math.min(from + block, m); i++)
        for (let c = 0; c < k; c++) sums[c] += gradient.codes[i * width + at + j] * x[i * k + c];
      for (let c = 0; c < k; c++) total[c] += sums[c] * gradient.scale[b * width + at + j];
    }
    for (let c = 0; c < k; c++) dw[j * k + c] = accumulate ? dw[j * k + c] + total[c] : total[c];
  }
}
