/**
 * Q4_0: 32 elements in 18 bytes, d (float16), then 16 bytes; byte j holds q of elements j (low) and j + 16; w = (q - 8) · d.
 *
 * Quantized as llama.cpp does: d = the element of largest magnitude (the first of several) / -8, q = min(15, floor(w / d + 8.5)),
 * with d before its own rounding. Where d is 0 in float16, q is 8. ops/int4-blocks is the same, as values.
 */
import type { BlockCodec } from "./codec.ts";
import { readFloat16, roundToFloat16, writeFloat16 } from "./float16.ts";

export const q4_0: BlockCodec = {
  name: "Q4_0",
  blockSize: 32,
  blockBytes: 18,
  decode(bytes, values) {
    for (let b = 0, at = 0; b < values.length; b += 32, at += 18) {
      const d = readFloat16(bytes, at);
      for (let j = 0; j < 16; j++) {
        const q = bytes[at + 2 + j];
        values[b + j] = d * ((q & 15) - 8);
        values[b + j + 16] = d * ((q >> 4) - 8);
      }
    }
  },
  encode(values, bytes) {
    for (let b = 0, at = 0; b < values.length; b += 32, at += 18) {
      let largest = 0;
      for (let i = b; i < b + 32; i++) if (Math.abs(values[i]) > Math.abs(largest)) largest = values[i];
      const d = Math.fround(largest / -8);
      const scale = roundToFloat16(d) || 0; // never -0
      const inverse = scale === 0 ? 0 : Math.fround(1 / d);
      writeFloat16(bytes, at, scale);
      const codeOf = (x: number) => Math.min(15, Math.floor(Math.fround(Math.fround(x * inverse) + 8.5)));
      for (let j = 0; j < 16; j++) bytes[at + 2 + j] = codeOf(values[b + j]) | (codeOf(values[b + j + 16]) << 4);
    }
  },
};
