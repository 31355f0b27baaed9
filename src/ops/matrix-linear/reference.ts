/**
 * y = x · wᵀ for a float matrix in one of the formats of quant/matrix-rows.ts, with a norm in front where there is a gain,
 * and an end behind: see packed-linear. The slow definition.
 *
 *   f32, bf16, f16   float64 sums, rounded once
 *   int8, int4       integers: x[m, :] becomes codes of 15 bits, q = round(x · 16256 / max|x|) half to even, and
 *                    int8   y = (128 · sum of high · w + sum of low · w) · (max|x| / 16256 · s), q = 128 · high + low
 *                    int4   y = (sum over blocks of s_b · sum of q · w) · max|x| / 16256
 *
 * What rounding x adds to a product is at most max|x| / 32512 · sum|w|: beside the weights' own rounding to 8 or 4 bits
 * (1/254 and 1/16 of the largest of a row or block), nothing. A row of x with NaN or infinity gives NaN.
 */
import { type MatrixFormat, matrixFormats, matrixRowBytes, packRow, unpackRow } from "../../quant/matrix-rows.ts";
import { panelRows } from "../../quant/packed-ternary.ts";
import { type RowSource, rowSources, sourceFloats, sourceRowBytes } from "../../quant/row-sources.ts";
import { applyEnd, ends, nameOf, normed, weightRows } from "../packed-linear/reference.ts";
import { roundHalfEven } from "../../quant/rounding.ts";

const formatOf = (number: number): MatrixFormat => nameOf(matrixFormats, number);

/** Of the codes of x: 127 · 128. */
const mostCode = 16256;

/** Codes of 15 bits of a row, and what they are multiplied by. */
function codesOf(x: Float32Array): { codes: Float64Array; scale: number } {
  let most = 0;
  for (const v of x) most = Number.isFinite(v) ? Math.max(most, Math.abs(v)) : Number.NaN;
  const factor = most > 1e-30 ? Math.fround(mostCode / most) : 0;
  return {
    codes: Float64Array.from(x, (v) => (factor > 0 ? roundHalfEven(Math.fround(v * factor)) : 0)),
    scale: Math.fround(most / mostCode),
  };
}

/** One output: x by a row of weights at `offset`. */
function integerProduct(
  { codes, scale }: ReturnType<typeof codesOf>,
  weights: Uint8Array,
  offset: number,
  format: "int8" | "int4",
): number {
  const k = codes.length;
  const view = new DataView(weights.buffer, weights.byteOffset);
  if (format === "int8") {
    let high = 0;
    let low = 0;
    for (let p = 0; p < k; p++) {
      const h = Math.floor((codes[p] + 64) / 128);
      high += h * (weights[offset + p] - 128);
      low += (codes[p] - 128 * h) * (weights[offset + p] - 128);
    }
    const sum = Math.fround(Math.fround(high) * 128 + Math.fround(low));
    return Math.fround(sum * Math.fround(scale * view.getFloat32(offset + k, true)));
  }
  // A block's scale times its codes is what unpackRow gives, exactly but for one rounding to float32.
  const w = unpackRow(weights, offset, k, format);
  let sum = 0;
  for (let p = 0; p < k; p++) sum += codes[p] * w[p];
  return sum * scale;
}

export function matrixLinear(
  a: { x: Float32Array; gain: Float32Array | null; weights: Uint8Array; y: Float32Array },
  { m, n, k, normEps, format, end }: Record<"m" | "n" | "k" | "normEps" | "format" | "end", number>,
): void {
  const name = formatOf(format);
  const rows = weightRows(n, nameOf(ends, end));
  const x = normed(a.x, a.gain, m, k, normEps);
  const values = new Float32Array(m * rows);
  if (name === "int8" || name === "int4") {
    const bytes = matrixRowBytes(k, name);
    for (let i = 0; i < m; i++) {
      const codes = codesOf(x.subarray(i * k, (i + 1) * k));
      for (let j = 0; j < rows; j++) values[i * rows + j] = integerProduct(codes, a.weights, j * bytes, name);
    }
    applyEnd(values, a.y, m, n, end);
    return;
  }
  for (let j = 0; j < rows; j++) {
    const w = unpackRow(a.weights, j * matrixRowBytes(k, name), k, name);
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += x[i * k + p] * w[p];
      values[i * rows + j] = sum;
    }
  }
  applyEnd(values, a.y, m, n, end);
}

/** y [M, K] = rows ids [M]. */
export function matrixRows(
  a: { ids: Int32Array; weights: Uint8Array; y: Float32Array },
  { m, k, format }: Record<"m" | "k" | "format", number>,
): void {
  const name = formatOf(format);
  for (let i = 0; i < m; i++) a.y.set(unpackRow(a.weights, a.ids[i] * matrixRowBytes(k, name), k, name), i * k);
}

/** Rows [N] of a source to rows: row n to first + floor(n / 16) · step + n mod 16. */
export function packMatrix(
  a: { rows: Uint8Array; packed: Uint8Array },
  p: Record<"n" | "k" | "first" | "step" | "format" | "source", number>,
): void {
  const source = nameOf(rowSources, p.source) as RowSource;
  const name = formatOf(p.format);
  const bytes = sourceRowBytes(source, p.k);
  for (let row = 0; row < p.n; row++) {
    const at = p.first + Math.floor(row / panelRows) * p.step + (row % panelRows);
    const w = sourceFloats(source, a.rows.subarray(row * bytes, (row + 1) * bytes), p.k);
    packRow(w, name, a.packed, at * matrixRowBytes(p.k, name));
  }
}
