/**
 * y = x · wᵀ for a float matrix in one of the formats of quant/matrix-rows.ts, with a norm in front where there is a gain,
 * and an end behind: see packed-linear. The slow definition: float64 sums, rounded once.
 */
import { type MatrixFormat, matrixFormats, matrixRowBytes, packRow, unpackRow } from "../../quant/matrix-rows.ts";
import { panelRows, type RowPlacement } from "../../quant/packed-ternary.ts";
import { applyEnd, ends, nameOf, normed, weightRows } from "../packed-linear/reference.ts";

export const formatOf = (number: number): MatrixFormat => nameOf(matrixFormats, number);

export function matrixLinear(
  a: { x: Float32Array; gain: Float32Array | null; weights: Uint8Array; y: Float32Array },
  { m, n, k, normEps, format, end }: Record<"m" | "n" | "k" | "normEps" | "format" | "end", number>,
): void {
  const name = formatOf(format);
  const rows = weightRows(n, nameOf(ends, end));
  const x = normed(a.x, a.gain, m, k, normEps);
  const values = new Float32Array(m * rows);
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

/** w [N, K] to rows: row n to first + floor(n / 16) · step + n mod 16. */
export function packMatrix(
  w: Float32Array,
  packed: Uint8Array,
  n: number,
  k: number,
  { first, step }: RowPlacement,
  format: number,
): void {
  const name = formatOf(format);
  for (let row = 0; row < n; row++) {
    const at = first + Math.floor(row / panelRows) * step + (row % panelRows);
    packRow(w.subarray(row * k, (row + 1) * k), name, packed, at * matrixRowBytes(k, name));
  }
}
