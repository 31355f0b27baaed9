/**
 * TQ1_0: 256 ternary elements in 54 bytes, 48 bytes of five trits each, 4 of four trits, then d (float16);
 * w = (code - 1) · d; 1.6875 bits a weight.
 *
 *   bytes  0..31: elements m + 32 n (m the byte, n the trit, 0..4)
 *   bytes 32..47: elements 160 + m + 16 n
 *   bytes 48..51: elements 240 + j + 4 n (n = 0..3; the fifth trit is 0)
 *
 * Five trits as the number v = sum code_n · 3^(4 - n) of 0..242 are stored as ceil(256 v / 243), so that trit n is the
 * upper byte of 3 · ((byte · 3^n) mod 256): decoding needs multiplications only.
 */
import { makeTernaryCodec } from "./ternary-codec.ts";

/** Bytes of each part, its first byte and element, and the trits in a byte. */
const parts = [
  { bytes: 32, at: 0, from: 0, trits: 5 },
  { bytes: 16, at: 32, from: 160, trits: 5 },
  { bytes: 4, at: 48, from: 240, trits: 4 },
] as const;

export const tq1_0 = makeTernaryCodec({
  name: "TQ1_0",
  blockSize: 256,
  blockBytes: 54,
  scaleAt: 52,
  pack(codes, from, bytes, at) {
    for (const part of parts)
      for (let m = 0; m < part.bytes; m++) {
        let v = 0;
        for (let n = 0; n < 5; n++) v = 3 * v + (n < part.trits ? codes[from + part.from + m + part.bytes * n] : 0);
        bytes[at + part.at + m] = Math.floor((256 * v + 242) / 243);
      }
  },
  unpack(bytes, at, codes, from) {
    for (const part of parts)
      for (let m = 0; m < part.bytes; m++) {
        let q = bytes[at + part.at + m];
        for (let n = 0; n < part.trits; n++) {
          codes[from + part.from + m + part.bytes * n] = (3 * q) >> 8;
          q = (3 * q) & 255;
        }
      }
  },
});
