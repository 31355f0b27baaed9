/**
 * Q8_0: 32 elements in 34 bytes, d (float16), then 32 int8; w = q · d.
 *
 * Quantised as llama.cpp does: d = max|w| / 127, q = round(w / d) half away from zero, with d before its own rounding.
 */
import type { BlockCodec } from "./codec.ts";
import { readFloat16, writeFloat16 } from "./float16.ts";

const blockSize = 32;
const blockBytes = 34;

export const q8_0: BlockCodec = {
  name: "Q8_0",
  blockSize,
  blockBytes,
  decode(bytes, values) {
    for (let b = 0, at = 0; b < values.length; b += blockSize, at += blockBytes) {
      const d = readFloat16(bytes, at);
      for (let i = 0; i < blockSize; i++) values[b + i] = d * ((bytes[at + 2 + i] << 24) >> 24);
    }
  },
  encode(values, bytes) {
    for (let b = 0, at = 0; b < values.length; b += blockSize, at += blockBytes) {
      let largest = 0;
      for (let i = 0; i < blockSize; i++) largest = Math.max(largest, Math.abs(values[b + i]));
      const d = Math.fround(largest / 127);
      const inverse = d === 0 ? 0 : Math.fround(1 / d);
      writeFloat16(bytes, at, d);
      for (let i = 0; i < blockSize; i++) {
        const x = Math.fround(values[b + i] * inverse);
        bytes[at + 2 + i] = x < 0 ? -Math.floor(-x + 0.5) : Math.floor(x + 0.5);
      }
    }
  },
  encodeTernary(codes, scale, bytes) {
    // Codes of one unit each: 127 units of scale / 127 would round the scale.
    for (let b = 0, at = 0; b < codes.length; b += blockSize, at += blockBytes) {
      writeFloat16(bytes, at, scale);
      for (let i = 0; i < blockSize; i++) bytes[at + 2 + i] = codes[b + i] - 1;
    }
  },
};
