/**
 * Gopher's quality rules: J. Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
 * arXiv:2112.11446, appendix A.1.1, "Quality Filtering". The numbers are the paper's; it names no tokenizer, and words are
 * those between white space here (as in Dolma), letters and digits at their core where stop words are looked up.
 */
import { defineFilter, type Stage } from "../pipeline.ts";
import { countOf, endsWithEllipsis, linesOf, meanLength, shareOf, startsWithBullet, wordsOf } from "./text-measures.ts";

export interface GopherQualityOptions {
  minWords?: number;
  maxWords?: number;
  /** Code points. */
  minMeanWordLength?: number;
  maxMeanWordLength?: number;
  /** Of "#" to words, and of ellipses to words. */
  maxSymbolsPerWord?: number;
  /** Share of lines. */
  maxBulletLines?: number;
  maxEllipsisLines?: number;
  /** Share of words with a letter in them. */
  minAlphabeticWords?: number;
  /** How many different ones of `stopWords` a document must hold; 0 for languages without a list. */
  minStopWords?: number;
  stopWords?: readonly string[];
}

export const gopherQualityDefaults = {
  minWords: 50,
  maxWords: 100_000,
  minMeanWordLength: 3,
  maxMeanWordLength: 10,
  maxSymbolsPerWord: 0.1,
  maxBulletLines: 0.9,
  maxEllipsisLines: 0.3,
  minAlphabeticWords: 0.8,
  minStopWords: 2,
  stopWords: ["the", "be", "to", "of", "and", "that", "have", "with"],
} satisfies Required<GopherQualityOptions>;

const hasLetter = /\p{L}/u;
const edges = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu;

/**
 * Drops a document for the first rule that it breaks, in this order: too-few-words, too-many-words, words-too-short,
 * words-too-long, too-many-hashes, too-many-ellipses, bullet-lines, ellipsis-lines, too-few-letters, too-few-stop-words.
 */
export function gopherQuality(options: GopherQualityOptions = {}): Stage {
  const rules = { ...gopherQualityDefaults, ...options };
  const stopWords = new Set(rules.stopWords.map((word) => word.toLowerCase()));
  return defineFilter("gopher-quality", rules, (document) => {
    const { text } = document;
    const words = wordsOf(text);
    const drop = (reason: string, found: number, wanted: string) => ({
      drop: reason,
      detail: `${Number.isInteger(found) ? found : found.toFixed(3)}, wanted ${wanted}`,
    });
    if (words.length < rules.minWords) return drop("too-few-words", words.length, `at least ${rules.minWords}`);
    if (words.length > rules.maxWords) return drop("too-many-words", words.length, `at most ${rules.maxWords}`);
    const length = meanLength(words);
    if (length < rules.minMeanWordLength) return drop("words-too-short", length, `at least ${rules.minMeanWordLength}`);
    if (length > rules.maxMeanWordLength) return drop("words-too-long", length, `at most ${rules.maxMeanWordLength}`);
    const perWord = (symbols: number) => symbols / Math.max(1, words.length);
    const hashes = perWord(countOf(text, "#"));
    if (hashes > rules.maxSymbolsPerWord) return drop("too-many-hashes", hashes, `at most ${rules.maxSymbolsPerWord}`);
    const ellipses = perWord(countOf(text, "...") + countOf(text, "…"));
    if (ellipses > rules.maxSymbolsPerWord)
      return drop("too-many-ellipses", ellipses, `at most ${rules.maxSymbolsPerWord}`);
    const lines = linesOf(text);
    const bullets = shareOf(lines, startsWithBullet);
    if (bullets > rules.maxBulletLines) return drop("bullet-lines", bullets, `at most ${rules.maxBulletLines}`);
    const trailing = shareOf(lines, endsWithEllipsis);
    if (trailing > rules.maxEllipsisLines) return drop("ellipsis-lines", trailing, `at most ${rules.maxEllipsisLines}`);
    const alphabetic = shareOf(words, (word) => hasLetter.test(word));
    if (alphabetic < rules.minAlphabeticWords)
      return drop("too-few-letters", alphabetic, `at least ${rules.minAlphabeticWords}`);
    if (rules.minStopWords > 0) {
      const found = new Set<string>();
      for (const word of words) {
        const core = word.replace(edges, "").toLowerCase();
        if (stopWords.has(core)) found.add(core);
        if (found.size >= rules.minStopWords) break;
      }
      if (found.size < rules.minStopWords)
        return drop("too-few-stop-words", found.size, `at least ${rules.minStopWords}`);
    }
    return document;
  });
}
