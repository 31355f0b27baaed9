/**
 * TQ2_0: 256 ternary elements in 66 bytes, 64 bytes of 2-bit codes, then d (float16); w = (code - 1) · d.
 *
 * Element 128 h + 32 l + m (h of 2, l of 4, m of 32) is in byte 32 h + m, bits 2 l and 2 l + 1.
 */
import { makeTernaryCodec } from "./ternary-codec.ts";

export const tq2_0 = makeTernaryCodec({
  name: "TQ2_0",
  blockSize: 256,
  blockBytes: 66,
  scaleAt: 64,
  pack(codes, from, bytes, at) {
    for (let h = 0; h < 2; h++)
      for (let m = 0; m < 32; m++) {
        let byte = 0;
        for (let l = 0; l < 4; l++) byte |= codes[from + 128 * h + 32 * l + m] << (2 * l);
        bytes[at + 32 * h + m] = byte;
      }
  },
  unpack(bytes, at, codes, from) {
    for (let h = 0; h < 2; h++)
      for (let m = 0; m < 32; m++) {
        const byte = bytes[at + 32 * h + m];
        for (let l = 0; l < 4; l++) codes[from + 128 * h + 32 * l + m] = (byte >> (2 * l)) & 3;
      }
  },
});
