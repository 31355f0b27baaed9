/**
 * Half-precision numbers widened to float32, exactly: what checkpoints of others are stored in. Pure functions on typed
 * arrays; called by safetensors.ts.
 */

/** IEEE binary16 (1 sign bit, 5 of exponent, 10 of fraction) to float32, subnormals, infinities and NaN included. */
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

/** bfloat16, the upper half of a float32, to float32. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return out;
}
