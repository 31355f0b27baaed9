/**
 * Entropy coding of ternary codes: range asymmetric numeral systems (rANS; Duda, arXiv:1311.2540) with one table of
 * frequencies for a matrix. Weights of a trained layer are near enough independent draws, so that no context helps, but
 * -1, 0 and +1 are not equally frequent: the bits of a weight come to its entropy, which is below log2 3 = 1.585.
 *
 * Codes are coded in blocks of 65536, each by itself, so that a decoder needs memory for one. A block is
 *
 *   u16 length in words of what follows | u32 final state | words (u16), in the order in which the decoder reads them
 *
 * all little-endian. State x lies in [2^15, 2^31), so it is a small positive integer of 32-bit arithmetic; frequencies
 * sum to 2^12. With M = 2^12, f the code's frequency and c the sum of those before it:
 *
 *   encode (last code first)  while x >= f · 2^19: put x mod 2^16, x = x >> 16;   x = (x div f) · M + c + x mod f
 *   decode (first code first) r = x mod M gives the code; x = f · (x div M) + r - c;   if x < 2^15: x = x · 2^16 + word
 *
 * A block that was not cut or changed ends with x = 2^15 and no word left. Pure functions; called by formats/compact.
 */
export const blockCodes = 65536;
const scaleBits = 12;
const total = 2 ** scaleBits;
const lowest = 2 ** 15;
/** Bytes in front of a block's words. */
export const blockHeadBytes = 6;

/**
 * The least frequency: a code that never occurs has it too. So no weight takes less than log2(4096 / 3968) = 0.045 bits,
 * and what a small file may decode to is bounded.
 */
export const leastFrequency = 64;

/** Weights that a byte of coded blocks can stand for, at most: 8 bits over the bits of the likeliest code. */
export const mostCodesPerByte = 8 / Math.log2(total / (total - 2 * leastFrequency));

/** Frequencies of the codes 0, 1 and 2: at least `leastFrequency` each, with sum 4096. */
export type Frequencies = readonly [number, number, number];

export const areFrequencies = (f: readonly number[]): f is Frequencies =>
  f.length === 3 && f.every((x) => Number.isInteger(x) && x >= leastFrequency) && f[0] + f[1] + f[2] === total;

/** How often each of 0, 1 and 2 occurs. */
export function countCodes(codes: Uint8Array): [number, number, number] {
  const counts: [number, number, number] = [0, 0, 0];
  for (const code of codes) counts[code]++;
  return counts;
}

/** The table for codes with these counts. */
export function frequenciesOf(counts: readonly number[]): Frequencies {
  const sum = counts[0] + counts[1] + counts[2];
  if (sum === 0) return [leastFrequency, total - 2 * leastFrequency, leastFrequency];
  const scaled = counts.map((count) => Math.max(leastFrequency, Math.round((total * count) / sum)));
  // Rounding, and the least frequency, leave the sum off by a little: the most frequent code bears it.
  const most = scaled.indexOf(Math.max(...scaled));
  scaled[most] += total - (scaled[0] + scaled[1] + scaled[2]);
  return [scaled[0], scaled[1], scaled[2]];
}

/** Bits that a code takes on the mean, by the table and not counting blocks' heads. */
export function tableBits(counts: readonly number[], frequencies: Frequencies): number {
  const sum = counts[0] + counts[1] + counts[2];
  return counts.reduce((bits, count, i) => bits + (count / sum) * Math.log2(total / frequencies[i]), 0);
}

/** Most bytes of a block with its head: no code takes more than log2(4096 / 64) = 6 bits, and the state 15 more. */
export const mostBlockBytes = blockHeadBytes + Math.ceil((blockCodes * 6) / 8) + 4;

/**
 * Codes one block.
 *
 * @param codes at most `blockCodes` of 0, 1, 2
 * @param bytes room for `mostBlockBytes`; overwritten from its start
 * @returns     bytes written
 */
export function encodeBlock(codes: Uint8Array, frequencies: Frequencies, bytes: Uint8Array): number {
  const start = [0, frequencies[0], frequencies[0] + frequencies[1]];
  const words = new Uint16Array((mostBlockBytes - blockHeadBytes) >> 1);
  let count = 0;
  let x = lowest;
  for (let i = codes.length - 1; i >= 0; i--) {
    const code = codes[i];
    const f = frequencies[code];
    if (x >= f * 2 ** 19) {
      words[count++] = x & 0xffff;
      x >>>= 16;
    }
    const quotient = Math.floor(x / f);
    x = quotient * total + start[code] + (x - quotient * f);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint16(0, count, true);
  view.setUint32(2, x, true);
  // Put last, read first.
  for (let i = 0; i < count; i++) view.setUint16(blockHeadBytes + 2 * i, words[count - 1 - i], true);
  return blockHeadBytes + 2 * count;
}

/** Bytes of the block whose head stands at `bytes[0..6)`. */
export const blockBytesOf = (head: Uint8Array): number => blockHeadBytes + 2 * (head[0] | (head[1] << 8));

/**
 * Decodes one block of `codes.length` codes.
 *
 * @param bytes the block with its head, exactly
 * @returns     null, or what is wrong with it
 */
export function decodeBlock(bytes: Uint8Array, frequencies: Frequencies, codes: Uint8Array): string | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length;
  const [f0, f1, f2] = frequencies;
  const f01 = f0 + f1;
  const mask = total - 1;
  let at = blockHeadBytes;
  const state = view.getUint32(2, true);
  if (state < lowest || state >= 2 ** 31) return `its state ${state} is outside 2^15 to 2^31`;
  let x = state | 0;
  for (let i = 0; i < codes.length; i++) {
    const r = x & mask;
    const high = x >> scaleBits;
    if (r < f0) {
      codes[i] = 0;
      x = Math.imul(f0, high) + r;
    } else if (r < f01) {
      codes[i] = 1;
      x = Math.imul(f1, high) + r - f0;
    } else {
      codes[i] = 2;
      x = Math.imul(f2, high) + r - f01;
    }
    if (x < lowest) {
      if (at >= end) return `its words end at weight ${i} of ${codes.length}`;
      x = (x << 16) | bytes[at] | (bytes[at + 1] << 8);
      at += 2;
    }
  }
  if (at !== end) return `${(end - at) / 2} of its words are left over`;
  if (x !== lowest) return `it ends in state ${x} instead of 2^15`;
  return null;
}
