/** Which documents are held out for validation: decided by the document's own text, so order and run do not matter. */

/**
 * 53-bit hash of a string's UTF-16 code units, as a number in [0, 1): cyrb53 (bryc, public domain). Not for security.
 */
export function unitHash(text: string, seed = 0): number {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 2654435761);
    b = Math.imul(b ^ c, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return ((b & 0x1fffff) * 4294967296 + (a >>> 0)) / 2 ** 53;
}

/**
 * True for about `fraction` of all documents. Equal documents always land on the same side, so a repeated one never
 * leaks from training to validation.
 */
export const isValidationDocument = (text: string, fraction: number): boolean => unitHash(text) < fraction;
