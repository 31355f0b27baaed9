/**
 * Q6_K: 256 elements in 210 bytes as 16 groups of 16, each with an int8 scale; w = d · scale · (q - 32), q of 6 bits.
 *
 *   128 bytes: low 4 bits | 64 bytes: high 2 bits | 16 int8 scales | d (float16)
 *
 * In each half of 128, byte l (0..31) of the low bits holds elements l (low half) and l + 64 (high half), byte l + 32
 * elements l + 32 and l + 96; the high bits of those four, in order of element, are bit pairs 0 to 3 of byte l.
 *
 * Quantised as llama.cpp does without an importance matrix: for each group the scale among 19 candidates around
 * -32 / w (w of largest magnitude) with the least squared error weighted by w².
 */
import type { BlockCodec } from "./codec.ts";
import { readFloat16, writeFloat16 } from "./float16.ts";
import { roundHalfEven } from "./rounding.ts";

/** ggml's GROUP_MAX_EPS: a group below is all zeros. */
const least = 1e-15;

const clip = (q: number) => Math.max(-32, Math.min(31, q));

/** The best scale of 16 values from `from`. */
function groupScale(x: Float32Array, from: number): number {
  let largest = 0;
  for (let i = from; i < from + 16; i++) if (Math.abs(x[i]) > Math.abs(largest)) largest = x[i];
  if (Math.abs(largest) < least) return 0;
  let scale = 0;
  let best = 0;
  for (const step of [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
    const inverse = -(32 + 0.1 * step) / largest;
    let xq = 0;
    let qq = 0;
    for (let i = from; i < from + 16; i++) {
      const q = clip(roundHalfEven(inverse * x[i]));
      const weight = x[i] * x[i];
      xq += weight * x[i] * q;
      qq += weight * q * q;
    }
    if (qq > 0 && (step === 0 || xq * xq > best * qq)) {
      scale = xq / qq;
      best = scale * xq;
    }
  }
  return scale;
}

export const q6_k: BlockCodec = {
  name: "Q6_K",
  blockSize: 256,
  blockBytes: 210,
  decode(bytes, values) {
    for (let b = 0, at = 0; b < values.length; b += 256, at += 210) {
      const d = readFloat16(bytes, at + 208);
      for (let e = 0; e < 256; e++) {
        const scale = (bytes[at + 192 + (e >> 4)] << 24) >> 24;
        values[b + e] = Math.fround(d * scale) * (quant(bytes, at, e) - 32);
      }
    }
  },
  encode(values, bytes) {
    const scales = new Float64Array(16);
    for (let b = 0, at = 0; b < values.length; b += 256, at += 210) {
      bytes.fill(0, at, at + 210);
      let largest = 0;
      for (let g = 0; g < 16; g++) {
        scales[g] = groupScale(values, b + 16 * g);
        if (Math.abs(scales[g]) > Math.abs(largest)) largest = scales[g];
      }
      if (Math.abs(largest) < least) continue;
      writeFloat16(bytes, at + 208, largest / -128);
      const d = readFloat16(bytes, at + 208);
      for (let g = 0; g < 16; g++) {
        const scale = Math.min(127, roundHalfEven((-128 / largest) * scales[g]));
        bytes[at + 192 + g] = scale;
        const step = d * scale;
        for (let e = 16 * g; e < 16 * g + 16; e++)
          putQuant(bytes, at, e, step === 0 ? 32 : clip(roundHalfEven(values[b + e] / step)) + 32);
      }
    }
  },
};

/** Where element e's bits are: its byte and shift among the low bits, and among the high ones. */
function placeOf(e: number): [number, number, number, number] {
  const half = e >> 7;
  const quarter = (e >> 5) & 3;
  const l = e & 31;
  return [64 * half + 32 * (quarter & 1) + l, 4 * (quarter >> 1), 128 + 32 * half + l, 2 * quarter];
}

function quant(bytes: Uint8Array, at: number, e: number): number {
  const [low, lowShift, high, highShift] = placeOf(e);
  return ((bytes[at + low] >> lowShift) & 15) | (((bytes[at + high] >> highShift) & 3) << 4);
}

function putQuant(bytes: Uint8Array, at: number, e: number, q: number): void {
  const [low, lowShift, high, highShift] = placeOf(e);
  bytes[at + low] |= (q & 15) << lowShift;
  bytes[at + high] |= (q >> 4) << highShift;
}
