/**
 * N-grams of held-out (evaluation) texts, to find training documents that share one: decontamination as in GPT-3 (Brown
 * et al. 2020, appendix C: 13-grams of words, without case and punctuation). The table lies in shared memory, so that
 * worker threads read one copy.
 */
import { DataError } from "../../platform/errors.ts";
import { hashWords, IntList, mix32 } from "./words.ts";

/** A held-out text shorter than n words counts whole, down to this many words (GPT-3 used 8 to 13 words by data set). */
const leastWords = 8;

/** What crosses to the workers. A slot is [low, high] of the n-gram's 64-bit hash, and the number of its text + 1. */
export interface HeldOutIndex {
  n: number;
  /** Lengths of n-grams that are in the table: n, and those of short texts. */
  lengths: number[];
  slots: number;
  table: SharedArrayBuffer;
  texts: number;
  ngrams: number;
  /** Texts with fewer than `leastWords` words, which nothing can match. */
  tooShort: number;
}

const baseLow = 0x2c1b3c6d | 1;
const baseHigh = 0x297a2d39 | 1;
/** 3 * 4 bytes a slot, at most half full: 3 GiB at this many n-grams. */
const maxNgrams = 2 ** 27;

/** Calls `visit` with the 64-bit hash of every run of `length` words: a polynomial in two bases, rolled and mixed. */
function eachNgram(words: IntList, length: number, visit: (low: number, high: number) => void): void {
  const { values } = words;
  let [low, high, outLow, outHigh] = [0, 0, 1, 1];
  for (let k = 0; k < length; k++) {
    outLow = Math.imul(outLow, baseLow);
    outHigh = Math.imul(outHigh, baseHigh);
  }
  for (let i = 0; i < words.length; i++) {
    // A second, independent value for each word, so that the two polynomials do not collide together.
    low = (Math.imul(low, baseLow) + values[i]) | 0;
    high = (Math.imul(high, baseHigh) + mix32(values[i] ^ 0x5bd1e995)) | 0;
    if (i >= length) {
      low = (low - Math.imul(values[i - length], outLow)) | 0;
      high = (high - Math.imul(mix32(values[i - length] ^ 0x5bd1e995), outHigh)) | 0;
    }
    if (i >= length - 1) visit(mix32(low ^ length), mix32(high + length));
  }
}

const slotsFor = (ngrams: number): number => 2 ** Math.ceil(Math.log2(Math.max(16, 2 * ngrams)));

/** Puts an n-gram into the table unless it is there. @returns whether it was new */
function insert(table: Int32Array, slots: number, low: number, high: number, text: number): boolean {
  for (let at = (low >>> 0) & (slots - 1); ; at = (at + 1) & (slots - 1)) {
    if (table[3 * at + 2] === 0) {
      table[3 * at] = low;
      table[3 * at + 1] = high;
      table[3 * at + 2] = text;
      return true;
    }
    if (table[3 * at] === low && table[3 * at + 1] === high) return false;
  }
}

/** @throws DataError for no text at all, or more n-grams than the table takes */
export async function indexHeldOut(
  documents: AsyncIterable<string> | Iterable<string>,
  n: number,
): Promise<HeldOutIndex> {
  const words = new IntList();
  const lengths = new Set<number>();
  let slots = slotsFor(1 << 12);
  let table = new Int32Array(3 * slots);
  let [texts, ngrams, tooShort] = [0, 0, 0];
  const grow = () => {
    const larger = new Int32Array(6 * slots);
    for (let at = 0; at < slots; at++)
      if (table[3 * at + 2] !== 0) insert(larger, slots * 2, table[3 * at], table[3 * at + 1], table[3 * at + 2]);
    table = larger;
    slots *= 2;
  };
  for await (const document of documents) {
    texts++;
    hashWords(document, words);
    if (words.length < Math.min(n, leastWords)) {
      tooShort++;
      continue;
    }
    const length = Math.min(n, words.length);
    lengths.add(length);
    const text = texts;
    eachNgram(words, length, (low, high) => {
      if (!insert(table, slots, low, high, text)) return;
      ngrams++;
      if (ngrams > maxNgrams)
        throw new DataError(`the held-out texts have over ${maxNgrams} ${n}-grams; are these the evaluation data?`);
      if (2 * ngrams > slots) grow();
    });
  }
  if (texts === 0) throw new DataError("the held-out files hold no text");
  const shared = new SharedArrayBuffer(table.byteLength);
  new Int32Array(shared).set(table);
  return { n, lengths: [...lengths].sort((a, b) => a - b), slots, table: shared, texts, ngrams, tooShort };
}

/** How many of a document's n-grams stand in the held-out texts, and the number (from 0) of the first such text; -1: none. */
export function findHeldOut(words: IntList, index: HeldOutIndex): { overlap: number; text: number } {
  const table = new Int32Array(index.table);
  const mask = index.slots - 1;
  let overlap = 0;
  let text = -1;
  for (const length of index.lengths)
    eachNgram(words, length, (low, high) => {
      for (let at = (low >>> 0) & mask; table[3 * at + 2] !== 0; at = (at + 1) & mask) {
        if (table[3 * at] !== low || table[3 * at + 1] !== high) continue;
        overlap++;
        const found = table[3 * at + 2] - 1;
        if (text < 0 || found < text) text = found;
        return;
      }
    });
  return { overlap, text };
}
