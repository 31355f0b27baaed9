/**
 * C4's rules: C. Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
 * JMLR 21 (2020), section 2.2, with the line rules of the authors' program (tensorflow_datasets/text/c4_utils.py): words of
 * over 1000 characters, policy notices, citation marks. Sentences are counted by their ends (`.`, `!`, `?` and what closes
 * them, before white space), where the authors' program takes NLTK's.
 */
import { UsageError } from "../../platform/errors.ts";
import { defineFilter, type Stage } from "../pipeline.ts";
import { linesOf, wordsOf } from "./text-measures.ts";

export interface C4Options {
  /** Keep only lines that end in . ? ! or a quotation mark, and not in an ellipsis. */
  terminalPunctuation?: boolean;
  /** Lines of fewer words are left out. */
  minWordsPerLine?: number;
  /** Lines with a longer word are left out (code units). */
  maxWordLength?: number;
  /** Documents that are left with fewer sentences are dropped. */
  minSentences?: number;
  /** Drop documents with a brace, which text has less often than programs. */
  braces?: boolean;
  loremIpsum?: boolean;
  /** Leave out lines with the word "javascript". */
  javascript?: boolean;
  /** Leave out lines of notices: "privacy policy", "uses cookies" ... */
  policy?: boolean;
  /** Remove Wikipedia's marks: [1], [edit], [citation needed]. */
  citations?: boolean;
  /** Drop documents with one of these words (the paper's list is LDNOOBW's). */
  badWords?: readonly string[];
}

export const c4Defaults = {
  terminalPunctuation: true,
  minWordsPerLine: 3,
  maxWordLength: 1000,
  minSentences: 5,
  braces: true,
  loremIpsum: true,
  javascript: true,
  policy: true,
  citations: true,
  badWords: [] as readonly string[],
} satisfies Required<C4Options>;

const terminal = /[.?!"'”’]$/u;
const ellipsis = /(?:\.\.\.|…)$/u;
const citation = /\[\d*\]|\[edit\]|\[citation needed\]/g;
const notice = /terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies/;
const sentenceEnd = /[.!?]+["'”’)\]]*(?=\s|$)/gu;

/**
 * Leaves out lines, then drops documents: lorem-ipsum, curly-bracket, bad-word, too-few-sentences (and no-line-left where
 * nothing is). Counts lines left out by reason. As in the authors' program, a brace or "lorem ipsum" in a line that another
 * rule left out does not drop the document, and bad words are looked for in the whole text as it came.
 */
export function c4Filter(options: C4Options = {}): Stage {
  const rules = { ...c4Defaults, ...options };
  const bad = badWordsPattern(rules.badWords);
  return defineFilter("c4", rules, (document, account) => {
    const found = bad?.exec(document.text.toLowerCase());
    if (found) return { drop: "bad-word", detail: found[0].trim() };
    const kept: string[] = [];
    let sentences = 0;
    for (const line of linesOf(document.text).map((line) => line.trim())) {
      const verdict = judgeLine(line, rules);
      if (verdict === "lorem-ipsum" || verdict === "curly-bracket") return { drop: verdict, detail: line.slice(0, 80) };
      if (verdict !== null) {
        if (line !== "") account.count(`lines: ${verdict}`);
        continue;
      }
      const text = rules.citations ? line.replace(citation, "") : line;
      sentences += text.match(sentenceEnd)?.length ?? 1;
      kept.push(text);
    }
    if (kept.length === 0) return { drop: "no-line-left" };
    if (sentences < rules.minSentences)
      return { drop: "too-few-sentences", detail: `${sentences}, wanted at least ${rules.minSentences}` };
    const text = kept.join("\n");
    return text === document.text ? document : { ...document, text };
  });
}

/** Why a line is left out, or its document dropped; null: it stays. */
function judgeLine(raw: string, rules: Required<C4Options>): string | null {
  const words = wordsOf(raw);
  if (words.some((word) => word.length > rules.maxWordLength)) return "long word";
  const line = rules.citations ? raw.replace(citation, "") : raw;
  if (rules.terminalPunctuation && (!terminal.test(line) || ellipsis.test(line))) return "no terminal punctuation";
  if (words.length < rules.minWordsPerLine) return "few words";
  const lower = line.toLowerCase();
  if (rules.loremIpsum && lower.includes("lorem ipsum")) return "lorem-ipsum";
  if (rules.javascript && lower.includes("javascript")) return "javascript";
  if (rules.braces && line.includes("{")) return "curly-bracket";
  return rules.policy && notice.test(lower) ? "policy notice" : null;
}

/** Any of the words with no letter or digit beside it. */
function badWordsPattern(words: readonly string[]): RegExp | null {
  if (words.length === 0) return null;
  const escaped = words.map((word) => word.toLowerCase().replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return new RegExp(`(?<![\\p{L}\\p{N}_])(?:${escaped.join("|")})(?![\\p{L}\\p{N}_])`, "u");
}

/** A list of words, one a line, as LDNOOBW's files are; lines that begin with # are left out. */
export function parseWordList(text: string, name: string): string[] {
  const words = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (words.length === 0) throw new UsageError(`${name}: holds no word; expected one a line`);
  return words;
}
