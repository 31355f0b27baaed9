/**
 * A BitLinear over packed weights, with what stands before and behind it:
 *
 *   n[m, :]  = gain · x[m, :] / rms(x[m, :])                      where there is a gain; else x   (ops/rms-norm)
 *   y[m, n]  = (sum over k of code(n)[m, k] · q[n, k]) · (scale(n)[m] · s[n])                     (ops/activation-quant)
 *   floats   = 1: y[m, n] = (sum over k of n[m, k] · q[n, k]) · s[n], nothing rounded to int8
 *   ends     store: out = y;  add: out += y;  silu and relu2: out = f(y of the gate's row) · y of up's row
 *
 * With a gated end, packed rows 32i..32i+15 are the gate's rows 16i.., and 32i+16..32i+31 are up's. The layout of the
 * packed weights is in quant/packed-ternary.ts. Integer sums are exact, and every rounding is that of bit-linear,
 * rms-norm and gated-activation; kernel.cc must agree on cases.ts.
 */
import { packTernary, panelRows, type TernaryFormat, unpackTernary } from "../../quant/packed-ternary.ts";
import { type RowSource, rowSources, sourceCodes, sourceRowBytes } from "../../quant/row-sources.ts";
import { quantizeActivations } from "../activation-quant/reference.ts";
import { gatedForward, kinds } from "../gated-activation/reference.ts";
import { rmsNormForward } from "../rms-norm/reference.ts";

/** Numbers by which kernels know what follows a product, and the formats. */
export const ends = { store: 0, add: 1, silu: 2, relu2: 3 } as const;
export type LinearEnd = keyof typeof ends;
export const formats: Record<TernaryFormat, number> = { "2bit": 0, trits: 1 };
const isGated = (end: LinearEnd): boolean => end === "silu" || end === "relu2";

/** Rows of weights behind n outputs: of a gated end, two to each, in whole panels. */
export function weightRows(n: number, end: LinearEnd): number {
  const whole = Math.ceil(n / panelRows) * panelRows;
  return isGated(end) ? 2 * whole : n;
}

export interface PackedLinearSizes {
  m: number;
  /** Outputs. */
  n: number;
  k: number;
  normEps: number;
  quantEps: number;
  end: number;
  format: number;
  floats: number;
  /** Where the packed rows begin. */
  offset: number;
  /** The largest code of an activation. */
  levels: number;
}

/** @param values [M, weight rows]: products; y [M, N] as `end` says */
export function applyEnd(values: Float32Array, y: Float32Array, m: number, n: number, end: number): void {
  const rows = weightRows(n, nameOf(ends, end));
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      if (end < ends.silu) {
        const value = values[i * rows + j];
        y[i * n + j] = end === ends.add ? y[i * n + j] + value : value;
        continue;
      }
      const at = i * rows + Math.floor(j / panelRows) * 2 * panelRows + (j % panelRows);
      const h = new Float32Array(1);
      gatedForward(values.subarray(at, at + 1), values.subarray(at + panelRows, at + panelRows + 1), h, {
        elements: 1,
        kind: end === ends.silu ? kinds.silu : kinds.relu2,
      });
      y[i * n + j] = h[0];
    }
  }
}

export function nameOf<T extends string>(names: Record<T, number>, number: number): T {
  return (Object.keys(names) as T[]).find((name) => names[name] === number) as T;
}

/** x [M, K] normed where there is a gain [K]. */
export function normed(x: Float32Array, gain: Float32Array | null, m: number, k: number, eps: number): Float32Array {
  if (!gain) return x;
  const y = new Float32Array(m * k);
  rmsNormForward(x, gain, y, new Float32Array(m), m, k, eps);
  return y;
}

/**
 * @param a.x       [M, K]
 * @param a.gain    [K] or null
 * @param a.weights packed rows
 * @param a.scales  one for each packed row, whole panels of them
 * @param a.y       [M, N]
 */
export function packedLinear(
  a: { x: Float32Array; gain: Float32Array | null; weights: Uint8Array; scales: Float32Array; y: Float32Array },
  { m, n, k, normEps, quantEps, end, format, floats, offset, levels }: PackedLinearSizes,
): void {
  const rows = weightRows(n, nameOf(ends, end));
  const codes = unpackTernary(a.weights.subarray(offset), rows, k, nameOf(formats, format));
  const x = normed(a.x, a.gain, m, k, normEps);
  const xCodes = new Int8Array(m * k);
  const xScale = new Float32Array(m);
  quantizeActivations(x, xCodes, xScale, new Int32Array(m), m, k, quantEps, levels);
  const values = new Float32Array(m * rows);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < rows; j++) {
      let sum = 0;
      const from = floats ? x : xCodes;
      for (let p = 0; p < k; p++) sum += from[i * k + p] * (codes[j * k + p] - 1);
      values[i * rows + j] = sum * (floats ? a.scales[j] : Math.fround(xScale[i] * a.scales[j]));
    }
  }
  applyEnd(values, a.y, m, n, end);
}

/** Rows [N] of a source to packed rows, and each row's scale. */
export function packRows(
  a: { rows: Uint8Array; packed: Uint8Array; scales: Float32Array },
  p: Record<"n" | "k" | "first" | "step" | "format" | "source" | "offset", number>,
): void {
  const source = nameOf(rowSources, p.source) as RowSource;
  const bytes = sourceRowBytes(source, p.k);
  for (let row = 0; row < p.n; row++) {
    const { codes, scale } = sourceCodes(source, a.rows.subarray(row * bytes, (row + 1) * bytes), p.k);
    a.scales[row] = scale;
    const first = p.first + Math.floor(row / panelRows) * p.step + (row % panelRows);
    packTernary(codes, 1, p.k, nameOf(formats, p.format), a.packed.subarray(p.offset), { first, step: panelRows });
  }
}
