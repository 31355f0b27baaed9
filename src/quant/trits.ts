/**
 * Five ternary codes to a byte: 3^5 = 243 of 256 values, so 1.6 bits a weight, where log2 3 = 1.585 is the least that a
 * fixed-length code could take. No scales, no blocks, no padding but in the last byte.
 *
 *   byte = c0 + 3 c1 + 9 c2 + 27 c3 + 81 c4, codes being weight + 1: 0, 1 or 2
 *
 * Called by formats/compact and the ONNX export.
 */
export const tritsPerByte = 5;
const byteValues = 243;

/** Bytes that `count` codes take. */
export const tritBytes = (count: number): number => Math.ceil(count / tritsPerByte);

/** Row b: the five codes of byte b. Rows 243 to 255, which no code has, are 1 (weight 0). */
export const tritTable: Uint8Array = (() => {
  const table = new Uint8Array(256 * tritsPerByte).fill(1);
  for (let byte = 0; byte < byteValues; byte++)
    for (let i = 0, rest = byte; i < tritsPerByte; i++, rest = Math.floor(rest / 3))
      table[byte * tritsPerByte + i] = rest % 3;
  return table;
})();

/**
 * Packs codes.
 *
 * @param codes 0, 1 or 2; not checked
 * @param bytes [tritBytes(codes.length)], overwritten; what is left of the last byte is code 0
 */
export function packTrits(codes: Uint8Array, bytes: Uint8Array): void {
  const whole = Math.floor(codes.length / tritsPerByte);
  for (let b = 0, i = 0; b < whole; b++, i += 5)
    bytes[b] = codes[i] + 3 * codes[i + 1] + 9 * codes[i + 2] + 27 * codes[i + 3] + 81 * codes[i + 4];
  for (let i = whole * 5, unit = 1; i < codes.length; i++, unit *= 3)
    bytes[whole] = (unit === 1 ? 0 : bytes[whole]) + unit * codes[i];
}

/**
 * Unpacks `codes.length` codes.
 *
 * @returns the first byte, as an index, that holds no code: above 242, or something after the last code; -1 for none
 */
export function unpackTrits(bytes: Uint8Array, codes: Uint8Array): number {
  let b = 0;
  for (let i = 0; i < codes.length; i += tritsPerByte, b++) {
    const value = bytes[b];
    if (value >= byteValues) return b;
    const at = value * tritsPerByte;
    const here = Math.min(tritsPerByte, codes.length - i);
    for (let k = 0; k < here; k++) codes[i + k] = tritTable[at + k];
    if (here < tritsPerByte && value >= 3 ** here) return b;
  }
  return -1;
}
