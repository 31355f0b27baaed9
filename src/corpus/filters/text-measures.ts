/**
 * What heuristics measure of a text: words, lines, repetition. Pure functions; thresholds and papers are in the filters.
 *
 * Lengths are in code points, as the papers' Python counts them.
 */

/** Words between white space, as Dolma counts them for Gopher's rules (no tokenizer is named in the paper). */
export const wordsOf = (text: string): string[] => text.match(/\S+/gu) ?? [];

/** Lines between newlines; a newline at the very end begins none. */
export function linesOf(text: string): string[] {
  const lines = text.split(/\r\n|\n|\r/);
  if (lines.length > 1 && lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/** Paragraphs between blank lines, without white space around the text. */
export const paragraphsOf = (text: string): string[] => text.trim().split(/\n\s*\n/);

const surrogates = /[\ud800-\udbff][\udc00-\udfff]/g;

/** Length in code points. */
export function lengthOf(text: string): number {
  const pairs = text.match(surrogates);
  return pairs ? text.length - pairs.length : text.length;
}

/** Occurrences of a string, not overlapping. */
export function countOf(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

export const meanLength = (words: readonly string[]): number =>
  words.length === 0 ? 0 : words.reduce((sum, word) => sum + lengthOf(word), 0) / words.length;

/** Share of items that hold; 0 of none. */
export const shareOf = <T>(items: readonly T[], holds: (item: T) => boolean): number =>
  items.length === 0 ? 0 : items.filter(holds).length / items.length;

const ellipsisEnd = /(?:\.\.\.|…)\s*$/u;
export const endsWithEllipsis = (line: string): boolean => ellipsisEnd.test(line);

/** Bullets: the eight of RedPajama-V2 and the two signs of Markdown lists, which must have a space behind them. */
const bulletStart = /^\s*(?:[\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab]|[*-]\s)/u;
export const startsWithBullet = (line: string): boolean => bulletStart.test(line);

/** Repeated items: those that came before, and their code points. */
export function repeatedItems(items: readonly string[]): { items: number; characters: number } {
  const seen = new Set<string>();
  let [count, characters] = [0, 0];
  for (const item of items) {
    if (seen.has(item)) {
      count++;
      characters += lengthOf(item);
    } else seen.add(item);
  }
  return { items: count, characters };
}

/** Numbers for words, and each word's length: n-grams are compared by number. */
export interface NumberedWords {
  ids: Int32Array;
  lengths: Int32Array;
  /** Code points of all words. */
  characters: number;
}

export function numberWords(words: readonly string[]): NumberedWords {
  const numbers = new Map<string, number>();
  const ids = new Int32Array(words.length);
  const lengths = new Int32Array(words.length);
  let characters = 0;
  for (const [i, word] of words.entries()) {
    let id = numbers.get(word);
    if (id === undefined) {
      id = numbers.size;
      numbers.set(word, id);
    }
    ids[i] = id;
    lengths[i] = lengthOf(word);
    characters += lengths[i];
  }
  return { ids, lengths, characters };
}

/**
 * Numbers the n-grams that start at each word, in the order of their first places: equal ones share a number. From those of
 * n - 1, so that n-grams of 2 to 10 words cost one pass each and no strings. An n-gram whose beginning occurs once occurs
 * once itself, and needs no look into the table: most of a text's do.
 */
export function extendNgrams(previous: Int32Array, words: Int32Array, n: number): Int32Array {
  const count = Math.max(0, words.length - n + 1);
  const grams = new Int32Array(count);
  const counts = countsOf(previous);
  let again = 0;
  for (let i = 0; i < count; i++) if (counts[previous[i]] > 1) again++;
  // Open addressing, at most half full: the place of an n-gram's first occurrence, plus one.
  const bits = Math.max(4, 32 - Math.clz32(2 * again));
  const table = new Int32Array(again === 0 ? 0 : 2 ** bits);
  const mask = table.length - 1;
  let next = 0;
  for (let i = 0; i < count; i++) {
    const [begin, end] = [previous[i], words[i + n - 1]];
    if (counts[begin] === 1) {
      grams[i] = next++;
      continue;
    }
    let slot = Math.imul(Math.imul(begin, 0x9e3779b1) ^ end, 0x85ebca6b) >>> (32 - bits);
    for (; ; slot = (slot + 1) & mask) {
      const first = table[slot] - 1;
      if (first < 0) {
        table[slot] = i + 1;
        grams[i] = next++;
        break;
      }
      if (previous[first] === begin && words[first + n - 1] === end) {
        grams[i] = grams[first];
        break;
      }
    }
  }
  return grams;
}

/** How often each number occurs; numbers are below the length. */
function countsOf(numbers: Int32Array): Int32Array {
  const counts = new Int32Array(numbers.length);
  for (const number of numbers) counts[number]++;
  return counts;
}

/** Whether any number occurs twice. Of n-grams that all differ, longer ones do too, and nothing more is to be found. */
export const anyRepeats = (numbers: Int32Array): boolean => {
  let largest = -1;
  for (const number of numbers) if (number > largest) largest = number;
  return largest + 1 < numbers.length;
};

/**
 * Share of the words' characters that the most frequent n-gram covers: its length times its count. 0 where none repeats.
 * Of several that are equally frequent the first counts (as Python's Counter has it).
 */
export function topNgramShare(grams: Int32Array, words: NumberedWords, n: number): number {
  const counts = countsOf(grams);
  // Numbers are given in order of first appearance, so the first largest is the earliest.
  let top = 0;
  for (let gram = 1; gram < counts.length; gram++) if (counts[gram] > counts[top]) top = gram;
  if (grams.length === 0 || counts[top] < 2) return 0;
  const at = grams.indexOf(top);
  let length = 0;
  for (let i = at; i < at + n; i++) length += words.lengths[i];
  return (length * counts[top]) / words.characters;
}

/** Share of the words' characters that lie in n-grams that occur more than once, each character counted once. */
export function repeatedNgramShare(grams: Int32Array, words: NumberedWords, n: number): number {
  if (words.characters === 0) return 0;
  const counts = countsOf(grams);
  let covered = 0;
  let upTo = 0;
  for (let i = 0; i < grams.length; i++) {
    if (counts[grams[i]] < 2) continue;
    for (let j = Math.max(i, upTo); j < i + n; j++) covered += words.lengths[j];
    upTo = i + n;
  }
  return covered / words.characters;
}
