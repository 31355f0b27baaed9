/** Q4_0, only read: 32 elements in 18 bytes, d (float16), then 16 bytes; byte j holds q of elements j (low) and j + 16; w = (q - 8) · d. */
import type { BlockCodec } from "./codec.ts";
import { readFloat16 } from "./float16.ts";

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
};
