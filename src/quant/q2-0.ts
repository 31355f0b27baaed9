/**
 * Q2_0: 64 elements in 18 bytes, d (float16), then 16 bytes of 2-bit codes; w = (code - 1) · d. Element j is in byte
 * j >> 2, bits 2 (j & 3) and the next. llama.cpp alone reads it; its block of 64 fits widths that TQ types do not.
 *
 * Code 3 stands for 2 d, which no ternary weight is; it is never written.
 */
import { makeTernaryCodec } from "./ternary-codec.ts";

export const q2_0 = makeTernaryCodec({
  name: "Q2_0",
  blockSize: 64,
  blockBytes: 18,
  scaleAt: 0,
  pack(codes, from, bytes, at) {
    for (let i = 0; i < 16; i++) {
      const j = from + 4 * i;
      bytes[at + 2 + i] = codes[j] | (codes[j + 1] << 2) | (codes[j + 2] << 4) | (codes[j + 3] << 6);
    }
  },
  unpack(bytes, at, codes, from) {
    for (let j = 0; j < 64; j++) codes[from + j] = (bytes[at + 2 + (j >> 2)] >> (2 * (j & 3))) & 3;
  },
});
