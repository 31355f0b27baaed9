/**
 * Rotary position embedding (Su et al., arXiv:2104.09864), half-split (Hugging Face) convention: of each head's D
 * values, i and i + D/2 are one pair, turned by angle position · base^(-2i/D).
 *
 *   y[i]       = x[i] · cos - x[i + D/2] · sin
 *   y[i + D/2] = x[i + D/2] · cos + x[i] · sin
 *
 * The slow definition. kernel.cc must agree with it on cases.ts. Backward is the same turn by the negative angle.
 */
import { ShapeError } from "../../platform/errors.ts";

/**
 * The cosines and sines of every position, computed in float64 and rounded once.
 *
 * @returns [positions, headWidth]: row t holds cos of the headWidth/2 angles, then their sines
 * @throws  ShapeError if headWidth is odd
 */
export function rotaryTable(positions: number, headWidth: number, base: number): Float32Array {
  return rotaryRows(0, positions, headWidth, base);
}

/** The rows of that table from one position up to another. */
export function rotaryRows(from: number, to: number, headWidth: number, base: number): Float32Array {
  if (headWidth % 2 !== 0) throw new ShapeError(`rotary: head width ${headWidth} is odd; expected pairs`);
  const half = headWidth / 2;
  const table = new Float32Array((to - from) * headWidth);
  for (let t = from; t < to; t++) {
    const row = (t - from) * headWidth;
    for (let i = 0; i < half; i++) {
      const angle = t * base ** (-i / half);
      table[row + i] = Math.cos(angle);
      table[row + half + i] = Math.sin(angle);
    }
  }
  return table;
}

export interface RotarySizes {
  /** B · T. */
  rows: number;
  /** T: row m is token m mod T of its sequence. */
  tokens: number;
  heads: number;
  headWidth: number;
  /** Position of token 0. */
  start: number;
  /** 1 forward; -1 turns back (the gradient). */
  direction: number;
  /** 1: add to y instead of overwriting it. */
  accumulate: number;
}

/**
 * @param x     [B, T, H·D]
 * @param table [positions, D], of rotaryTable; start + T <= positions
 * @param y     [B, T, H·D]
 */
export function rotate(x: Float32Array, table: Float32Array, y: Float32Array, s: RotarySizes): void {
  const half = s.headWidth / 2;
  for (let m = 0; m < s.rows; m++) {
    const angles = (s.start + (m % s.tokens)) * s.headWidth;
    for (let h = 0; h < s.heads; h++) {
      const head = (m * s.heads + h) * s.headWidth;
      for (let i = 0; i < half; i++) {
        const cos = table[angles + i];
        const sin = table[angles + half + i] * s.direction;
        const a = x[head + i];
        const b = x[head + half + i];
        const first = a * cos - b * sin;
        const second = b * cos + a * sin;
        y[head + i] = s.accumulate ? y[head + i] + first : first;
        y[head + half + i] = s.accumulate ? y[head + half + i] + second : second;
      }
    }
  }
}
