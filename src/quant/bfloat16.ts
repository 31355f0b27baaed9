/**
 * bfloat16: the upper 16 bits of a float32 (8 bits of exponent, 7 of fraction), so the range of a float32 and a relative
 * rounding error of at most 2^-8.
 */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The 16 bits of the nearest bfloat16, half to even. NaN stays NaN; what is too large becomes infinite. */
export function toBfloat16Bits(x: number): number {
  float[0] = x;
  const b = bits[0];
  // A NaN whose payload is all in the lower half would round to infinity: it is made quiet instead.
  if (Number.isNaN(float[0])) return (b >>> 16) | 0x40;
  return ((b + 0x7fff + ((b >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The float32 with these upper 16 bits. */
export function fromBfloat16Bits(b: number): number {
  bits[0] = b << 16;
  return float[0];
}

/** The nearest number that a bfloat16 can hold. */
export function roundToBfloat16(x: number): number {
  return fromBfloat16Bits(toBfloat16Bits(x));
}

/** Many to float32, exactly. Checkpoints are read by it. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return out;
}
