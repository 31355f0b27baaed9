/**
 * Weights to 4 bits with one scale for each 32 columns, the numbers of GGUF's Q4_0 (quant/q4-0.ts):
 *
 *   d = the element of largest magnitude (the first of several) / -8 of the block    q = min(15, floor(w · (1 / d) + 8.5))
 *   y = (q - 8) · float16(d)
 *
 * so the largest element is level -8, and there are seven levels of the other sign. Each step is rounded to float32. Values that
 * are such numbers already stay what they are. The slow, exact definition: kernel.cc must equal it, to the bit.
 */
import { roundToFloat16 } from "../../quant/float16.ts";

export const int4BlockSize = 32;

/** w [size], whole blocks; y [size] is overwritten. A block with a NaN or an infinity becomes NaN. */
export function quantizeInt4Blocks(w: Float32Array, y: Float32Array, { size }: { size: number }): void {
  for (let from = 0; from < size; from += int4BlockSize) {
    let largest = 0;
    let finite = true;
    for (let i = from; i < from + int4BlockSize; i++) {
      if (Math.abs(w[i]) > Math.abs(largest)) largest = w[i];
      finite &&= Number.isFinite(w[i]);
    }
    const d = Math.fround(largest / -8);
    const scale = finite ? roundToFloat16(d) || 0 : Number.NaN; // never -0
    // Where d is 0 in float16, every value is 0.
    const inverse = scale === 0 ? 0 : Math.fround(1 / d);
    for (let i = from; i < from + int4BlockSize; i++) {
      const x = Math.fround(Math.fround(w[i] * inverse) + 8.5);
      y[i] = (Math.min(15, Math.floor(x)) - 8) * scale;
    }
  }
}
