/**
 * Weights to int8 with one scale for each 32 columns, the numbers of GGUF's Q8_0 (quant/q8-0.ts):
 *
 *   d = max|w| / 127 of the block    q = round(w · (1 / d)), half away from zero    y = q · float16(d)
 *
 * Each step is rounded to float32. The slow, exact definition: kernel.cc must equal it, to the bit.
 */
import { roundToFloat16 } from "../../quant/float16.ts";

export const int8BlockSize = 32;

/** w [size], whole blocks; y [size] is overwritten. A block with a NaN or an infinity becomes NaN. */
export function quantizeInt8Blocks(w: Float32Array, y: Float32Array, { size }: { size: number }): void {
  for (let from = 0; from < size; from += int8BlockSize) {
    let largest = 0;
    for (let i = from; i < from + int8BlockSize; i++) largest = Math.max(largest, Math.abs(w[i]));
    const d = Math.fround(largest / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    const scale = Number.isFinite(largest) ? roundToFloat16(d) : Number.NaN;
    for (let i = from; i < from + int8BlockSize; i++) {
      const x = Math.fround(w[i] * inverse);
      const q = x < 0 ? -Math.floor(-x + 0.5) : Math.floor(x + 0.5);
      y[i] = q * scale;
    }
  }
}
