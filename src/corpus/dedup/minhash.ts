/**
 * MinHash of word shingles (Broder, "On the resemblance and containment of documents", 1997): for each of P permutations
 * of the 32-bit integers, the least value that a document's shingles take. Two documents with Jaccard similarity J agree at
 * each place with probability J, so the share of places where they agree estimates J with variance J (1 - J) / P.
 */
import { createRandom } from "../../platform/random.ts";
import { type IntList, mix32 } from "./words.ts";

/**
 * Hashes of all runs of `size` words, repeated ones as often as they stand there; none where there are fewer words.
 * MurmurHash3's body over the words' hashes.
 */
export function hashShingles(words: IntList, size: number, out: IntList): void {
  const count = Math.max(0, words.length - size + 1);
  out.length = 0;
  out.reserve(count);
  const { values } = words;
  const target = out.values;
  for (let i = 0; i < count; i++) {
    let h = size;
    for (let k = i; k < i + size; k++) {
      let word = Math.imul(values[k], 0xcc9e2d51);
      word = Math.imul((word << 15) | (word >>> 17), 0x1b873593);
      h ^= word;
      h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
    }
    target[i] = mix32(h);
  }
  out.length = count;
}

/** Sorts the hashes and keeps each once. */
export function distinct(hashes: Int32Array): Int32Array {
  const sorted = hashes.slice().sort();
  let count = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[count++] = sorted[i];
  return sorted.subarray(0, count);
}

/** |A and B| / |A or B| of two sorted lists without repetition: what MinHash estimates. 0 for two empty lists. */
export function jaccard(a: Int32Array, b: Int32Array): number {
  let shared = 0;
  for (let i = 0, k = 0; i < a.length && k < b.length; ) {
    if (a[i] === b[k]) {
      shared++;
      i++;
      k++;
    } else if (a[i] < b[k]) i++;
    else k++;
  }
  const all = a.length + b.length - shared;
  return all === 0 ? 0 : shared / all;
}

export interface Permutations {
  xor: Int32Array;
  multiply: Int32Array;
}

/** P permutations x -> ((x ^ b) a) mod 2^32, a odd, drawn from a seed. */
export function drawPermutations(count: number, seed: number): Permutations {
  const random = createRandom(seed);
  const xor = new Int32Array(count);
  const multiply = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    xor[i] = random.integer(2 ** 32) | 0;
    multiply[i] = random.integer(2 ** 32) | 1;
  }
  return { xor, multiply };
}

/**
 * One signature: for each permutation the least value, as signed 32-bit integers.
 *
 * @param hashes  [shingles] with or without repetition
 * @param out     [P]; overwritten
 */
export function signatureOf(
  hashes: Int32Array,
  count: number,
  { xor, multiply }: Permutations,
  out: Int32Array,
  outStride = 1,
  outAt = 0,
): void {
  let p = 0;
  // Four at a time: a hash is loaded once for all of them, and their minima wait on each other no more. Twice as fast.
  for (; p + 4 <= xor.length; p += 4) {
    const [b0, b1, b2, b3] = [xor[p], xor[p + 1], xor[p + 2], xor[p + 3]];
    const [a0, a1, a2, a3] = [multiply[p], multiply[p + 1], multiply[p + 2], multiply[p + 3]];
    let [least0, least1, least2, least3] = [greatest, greatest, greatest, greatest];
    for (let i = 0; i < count; i++) {
      const hash = hashes[i];
      const value0 = Math.imul(hash ^ b0, a0);
      if (value0 < least0) least0 = value0;
      const value1 = Math.imul(hash ^ b1, a1);
      if (value1 < least1) least1 = value1;
      const value2 = Math.imul(hash ^ b2, a2);
      if (value2 < least2) least2 = value2;
      const value3 = Math.imul(hash ^ b3, a3);
      if (value3 < least3) least3 = value3;
    }
    const at = outAt + p * outStride;
    out[at] = least0;
    out[at + outStride] = least1;
    out[at + 2 * outStride] = least2;
    out[at + 3 * outStride] = least3;
  }
  for (; p < xor.length; p++) {
    const b = xor[p];
    const a = multiply[p];
    let least = greatest;
    for (let i = 0; i < count; i++) {
      const value = Math.imul(hashes[i] ^ b, a);
      if (value < least) least = value;
    }
    out[outAt + p * outStride] = least;
  }
}

const greatest = 0x7fffffff;

/** 64 bits that name the values of a band, as two 32-bit halves [low, high]: MurmurHash3's body with two seeds. */
export function bandHash(
  signature: Int32Array,
  from: number,
  stride: number,
  rows: number,
  out: Int32Array,
  at: number,
): void {
  let low = 0x3c6ef372;
  let high = 0x1f83d9ab;
  for (let r = 0; r < rows; r++) {
    let value = Math.imul(signature[from + r * stride], 0xcc9e2d51);
    value = Math.imul((value << 15) | (value >>> 17), 0x1b873593);
    low ^= value;
    low = (Math.imul((low << 13) | (low >>> 19), 5) + 0xe6546b64) | 0;
    value = Math.imul(signature[from + r * stride] ^ low, 0x85ebca6b);
    high ^= (value << 16) | (value >>> 16);
    high = (Math.imul((high << 15) | (high >>> 17), 9) + 0x38b34ae5) | 0;
  }
  out[at] = mix32(low);
  out[at + 1] = mix32(high);
}
