/**
 * Q4_K and Q5_K, only read: 256 elements as 8 groups of 32, each with a 6-bit scale and a 6-bit minimum;
 * w = d · scale · q - dmin · minimum.
 *
 *   Q4_K, 144 bytes: d, dmin (float16) | 12 bytes of scales and minima | 128 bytes of q's 4 bits
 *   Q5_K, 176 bytes: d, dmin           | 12 bytes                      | 32 bytes of q's fifth bit | 128 bytes
 *
 * Byte l of 32 holds element l of an even group in its low half and of the next group in its high half. The fifth bits of
 * group g are bit g of the 32 bytes.
 */
import type { BlockCodec } from "./codec.ts";
import { readFloat16 } from "./float16.ts";

/** Scale and minimum of group g, 6 bits each, packed into 12 bytes from `at`. */
function scaleAndMinimum(bytes: Uint8Array, at: number, g: number): [number, number] {
  if (g < 4) return [bytes[at + g] & 63, bytes[at + g + 4] & 63];
  const low = bytes[at + g + 4];
  return [(low & 15) | ((bytes[at + g - 4] >> 6) << 4), (low >> 4) | ((bytes[at + g] >> 6) << 4)];
}

function groupsOf32(name: string, blockBytes: number, fifthBits: boolean): BlockCodec {
  const quantsAt = fifthBits ? 48 : 16;
  return {
    name,
    blockSize: 256,
    blockBytes,
    decode(bytes, values) {
      for (let b = 0, at = 0; b < values.length; b += 256, at += blockBytes) {
        const d = readFloat16(bytes, at);
        const dmin = readFloat16(bytes, at + 2);
        for (let g = 0; g < 8; g++) {
          const [scale, minimum] = scaleAndMinimum(bytes, at + 4, g);
          const step = Math.fround(d * scale);
          const base = Math.fround(dmin * minimum);
          const quants = at + quantsAt + 32 * (g >> 1);
          for (let l = 0; l < 32; l++) {
            let q = g & 1 ? bytes[quants + l] >> 4 : bytes[quants + l] & 15;
            if (fifthBits) q |= ((bytes[at + 16 + l] >> g) & 1) << 4;
            values[b + 32 * g + l] = Math.fround(step * q) - base;
          }
        }
      }
    },
  };
}

export const q4_k = groupsOf32("Q4_K", 144, false);
export const q5_k = groupsOf32("Q5_K", 176, true);
