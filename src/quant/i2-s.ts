/**
 * I2_S, bitnet.cpp's ternary format: 2-bit codes, and one float32 scale for the whole tensor behind them;
 * w = (code - 1) · scale.
 *
 *   R · K / 4 bytes of codes | scale (float32) | 28 zero bytes
 *
 * A row is blocks of 128 elements in 32 bytes: element 32 g + p is in byte p, bits 6 - 2 g and the next (g = 0 highest).
 * Not a block codec: the scale is the tensor's.
 */
export const i2sBlockSize = 128;
const trailerBytes = 32;

/** Bytes of a tensor of `count` elements (rows of whole blocks). */
export const i2sBytes = (count: number): number => count / 4 + trailerBytes;

/** @param codes 0, 1 or 2, rows of whole blocks */
export function encodeI2S(codes: Uint8Array, scale: number): Uint8Array {
  const bytes = new Uint8Array(i2sBytes(codes.length));
  for (let b = 0, at = 0; b < codes.length; b += i2sBlockSize, at += 32)
    for (let p = 0; p < 32; p++)
      bytes[at + p] = (codes[b + p] << 6) | (codes[b + 32 + p] << 4) | (codes[b + 64 + p] << 2) | codes[b + 96 + p];
  new DataView(bytes.buffer).setFloat32(codes.length / 4, scale, true);
  return bytes;
}

/** Codes 0, 1 and 2 (and 3, which stands for nothing, where a damaged file has it) and the scale. */
export function decodeI2S(bytes: Uint8Array, count: number): { codes: Uint8Array; scale: number } {
  const codes = new Uint8Array(count);
  for (let b = 0, at = 0; b < count; b += i2sBlockSize, at += 32)
    for (let p = 0; p < 32; p++) {
      const byte = bytes[at + p];
      for (let g = 0; g < 4; g++) codes[b + 32 * g + p] = (byte >> (6 - 2 * g)) & 3;
    }
  const scale = new DataView(bytes.buffer, bytes.byteOffset).getFloat32(count / 4, true);
  return { codes, scale };
}
