/**
 * Weights rounded to b bits with one scale for each row (symmetric absmax), as values:
 *
 *   L = 2^(b - 1) - 1    s = max|w| / L of the row    q = clip(round(w · (1 / s)), -L, L)    y = q · s
 *
 * Rounding is half to even, as PyTorch's fake_quantize_per_channel_affine has it; every step is rounded to float32. The
 * gradient is straight-through: dw = dy. The slow, exact definition: kernel.cc must equal it, to the bit.
 */
import { roundHalfEven } from "../../quant/rounding.ts";

/** Scales under float32's normal numbers have no finite inverse: such a row counts as zeros. */
export const smallestScale = 2 ** -126;

/** w [rows, width]; y like it is overwritten. A row with a NaN or an infinity becomes NaN. */
export function quantizeRows(
  w: Float32Array,
  y: Float32Array,
  { rows, width, bits }: { rows: number; width: number; bits: number },
): void {
  const levels = 2 ** (bits - 1) - 1;
  for (let n = 0; n < rows; n++) {
    let largest = 0;
    for (let k = 0; k < width; k++) largest = Math.max(largest, Math.abs(w[n * width + k]));
    const s = Number.isFinite(largest) ? Math.fround(largest / levels) : Number.NaN;
    const inverse = s < smallestScale ? 0 : Math.fround(1 / s);
    for (let k = 0; k < width; k++) {
      const q = roundHalfEven(Math.fround(w[n * width + k] * inverse));
      y[n * width + k] = Math.max(-levels, Math.min(levels, q)) * s;
    }
  }
}
