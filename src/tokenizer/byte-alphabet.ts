/**
 * GPT-2's byte alphabet: every byte has one printable character, so that a token of any bytes is a JSON string.
 *
 * The 188 bytes that print in Latin-1 stand for themselves; the other 68, in order, are U+0100, U+0101, ... (so a space
 * is "Ġ" and a newline "Ċ"). Source: openai/gpt-2, encoder.py, bytes_to_unicode. Called by the byte-level tokenizers.
 */

const printable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

/** The character of each byte. */
export const byteToChar: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

/** The byte of each character, or -1; characters past U+0143 have none. */
const charToByte: Int16Array = (() => {
  const table = new Int16Array(0x144).fill(-1);
  for (const [byte, char] of byteToChar.entries()) table[char.charCodeAt(0)] = byte;
  return table;
})();

/** The bytes in the order of their characters: the order in which every trainer numbers them. */
export const bytesByChar: readonly number[] = Array.from({ length: 256 }, (_, byte) => byte).sort(
  (a, b) => byteToChar[a].charCodeAt(0) - byteToChar[b].charCodeAt(0),
);

/** Bytes as a string of the alphabet. */
export function bytesToToken(bytes: ArrayLike<number>): string {
  let token = "";
  for (let i = 0; i < bytes.length; i++) token += byteToChar[bytes[i]];
  return token;
}

/** A string of the alphabet as bytes; null where a character is not of the alphabet. */
export function tokenToBytes(token: string): Uint8Array | null {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const unit = token.charCodeAt(i);
    const byte = unit < charToByte.length ? charToByte[unit] : -1;
    if (byte < 0) return null;
    bytes[i] = byte;
  }
  return bytes;
}
