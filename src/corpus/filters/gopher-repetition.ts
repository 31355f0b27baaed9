/**
 * Gopher's repetition rules: J. Rae et al., arXiv:2112.11446, appendix A.1.1, "Repetition Removal", table A1. Shares of
 * n-grams are of the characters of all words (white space left out), as RedPajama-V2 computes its rps_doc_frac_chars_*,
 * but of the words as they stand, not lower-cased and without punctuation.
 */
import { defineFilter, type Drop, type Stage } from "../pipeline.ts";
import {
  anyRepeats,
  extendNgrams,
  lengthOf,
  linesOf,
  numberWords,
  paragraphsOf,
  repeatedItems,
  repeatedNgramShare,
  topNgramShare,
  wordsOf,
} from "./text-measures.ts";

export interface GopherRepetitionOptions {
  /** Share of lines that came before in the document, and of the characters in them. */
  maxRepeatedLines?: number;
  maxRepeatedLineCharacters?: number;
  maxRepeatedParagraphs?: number;
  maxRepeatedParagraphCharacters?: number;
  /** By n: share of characters that the most frequent n-gram covers. */
  maxTopNgram?: Readonly<Record<string, number>>;
  /** By n: share of characters in n-grams that occur more than once. */
  maxRepeatedNgrams?: Readonly<Record<string, number>>;
}

export const gopherRepetitionDefaults = {
  maxRepeatedLines: 0.3,
  maxRepeatedLineCharacters: 0.2,
  maxRepeatedParagraphs: 0.3,
  maxRepeatedParagraphCharacters: 0.2,
  maxTopNgram: { 2: 0.2, 3: 0.18, 4: 0.16 },
  maxRepeatedNgrams: { 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1 },
} satisfies Required<GopherRepetitionOptions>;

/**
 * Drops a document for the first rule that it breaks: repeated-lines, repeated-line-characters, repeated-paragraphs,
 * repeated-paragraph-characters, top-2-gram and on, repeated-5-grams and on. Blank lines are no lines here.
 */
export function gopherRepetition(options: GopherRepetitionOptions = {}): Stage {
  const rules = { ...gopherRepetitionDefaults, ...options };
  const top = new Map(Object.entries(rules.maxTopNgram).map(([n, most]) => [Number(n), most]));
  const repeated = new Map(Object.entries(rules.maxRepeatedNgrams).map(([n, most]) => [Number(n), most]));
  const longest = Math.max(1, ...top.keys(), ...repeated.keys());
  return defineFilter("gopher-repetition", rules, (document) => {
    const { text } = document;
    const lines = linesOf(text).filter((line) => line.trim() !== "");
    const found =
      repetition("line", lines, rules.maxRepeatedLines, rules.maxRepeatedLineCharacters) ??
      repetition("paragraph", paragraphsOf(text), rules.maxRepeatedParagraphs, rules.maxRepeatedParagraphCharacters);
    if (found) return found;
    const words = numberWords(wordsOf(text));
    let grams = words.ids;
    for (let n = 2; n <= longest; n++) {
      grams = extendNgrams(grams, words.ids, n);
      if (!anyRepeats(grams)) break;
      const mostTop = top.get(n);
      const topShare = mostTop === undefined ? 0 : topNgramShare(grams, words, n);
      if (mostTop !== undefined && topShare > mostTop) return drop(`top-${n}-gram`, topShare, mostTop);
      const mostRepeated = repeated.get(n);
      const share = mostRepeated === undefined ? 0 : repeatedNgramShare(grams, words, n);
      if (mostRepeated !== undefined && share > mostRepeated) return drop(`repeated-${n}-grams`, share, mostRepeated);
    }
    return document;
  });
}

const drop = (reason: string, share: number, most: number): Drop => ({
  drop: reason,
  detail: `${share.toFixed(3)}, wanted at most ${most}`,
});

function repetition(noun: string, items: readonly string[], mostItems: number, mostCharacters: number): Drop | null {
  if (items.length === 0) return null;
  const again = repeatedItems(items);
  const share = again.items / items.length;
  if (share > mostItems) return drop(`repeated-${noun}s`, share, mostItems);
  const characters =
    again.characters /
    Math.max(
      1,
      items.reduce((sum, item) => sum + lengthOf(item), 0),
    );
  return characters > mostCharacters ? drop(`repeated-${noun}-characters`, characters, mostCharacters) : null;
}
