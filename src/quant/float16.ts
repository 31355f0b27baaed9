/**
 * IEEE binary16: 1 sign bit, 5 of exponent, 10 of fraction. Largest 65504, smallest 2^-24, relative rounding error of a
 * normal number at most 2^-11.
 */
import { roundHalfEven } from "./rounding.ts";

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The 16 bits of the nearest binary16, half to even. NaN stays NaN; from 65520 on it is infinite. */
export function toFloat16Bits(x: number): number {
  float[0] = x;
  const b = bits[0];
  const sign = (b >>> 16) & 0x8000;
  const magnitude = b & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff); // NaN, made quiet
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above
  if (magnitude < 0x38800000) {
    // Subnormal: a whole number of 2^-24. The product is exact in float64.
    return sign | roundHalfEven(Math.abs(float[0]) * 2 ** 24);
  }
  const rebased = magnitude - 0x38000000; // the exponent's bias from 127 to 15
  return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
}

/** The number with these 16 bits. */
export function fromFloat16Bits(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 0x1f;
  const fraction = h & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The nearest number that a binary16 can hold. */
export const roundToFloat16 = (x: number): number => fromFloat16Bits(toFloat16Bits(x));

/** Reads and writes a binary16 at a byte, little-endian, at any alignment. */
export const readFloat16 = (bytes: Uint8Array, at: number): number => fromFloat16Bits(bytes[at] | (bytes[at + 1] << 8));

export function writeFloat16(bytes: Uint8Array, at: number, x: number): void {
  const h = toFloat16Bits(x);
  bytes[at] = h & 0xff;
  bytes[at + 1] = h >> 8;
}

/** Many to float32, exactly: subnormals, infinities and NaN with its payload included. Checkpoints are read by it. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) {
    const h = bits[i];
    const sign = (h & 0x8000) << 16;
    const rest = h & 0x7fff;
    if (rest >= 0x7c00)
      words[i] = sign | 0x7f800000 | ((rest & 0x3ff) << 13); // infinity, NaN with its payload
    else if (rest >= 0x0400)
      words[i] = sign | ((rest << 13) + ((127 - 15) << 23)); // the exponent, biased anew
    else out[i] = (sign ? -1 : 1) * rest * 2 ** -24; // zero and subnormals
  }
  return out;
}
