/**
 * Clean-up of lines: what pages carry around their text. White space at line ends goes, runs of blank lines become one;
 * lines that repeat within the document, and short lines of controls and counts ("Share", "12 comments", "Read more"), are
 * left out. The latter are the line rules of RefinedWeb (G. Penedo et al., arXiv:2306.01116, appendix G.2): mostly
 * capitals, only digits, counters, a single word.
 */
import { defineFilter, type Stage } from "../pipeline.ts";
import { linesOf } from "./text-measures.ts";

export interface LinesOptions {
  /** Leave out counters, lines of nothing but digits or signs, and a page's own controls. */
  boilerplate?: boolean;
  /** Leave out lines of at least so many characters that came before in the document; 0: keep them. */
  repeatedFrom?: number;
  /** Leave out lines in which more than this share of letters is upper case (from ten letters on); 1: keep them. */
  maxUpperCase?: number;
  /** RefinedWeb drops a document of which line rules leave out more than this share of the words. */
  maxRemovedWords?: number;
}

export const linesDefaults = {
  boilerplate: true,
  repeatedFrom: 0,
  maxUpperCase: 1,
  maxRemovedWords: 0.05,
} satisfies Required<LinesOptions>;

const counter =
  /^\W*\d[\d.,]*\s*[km]?\s*(?:likes?|shares?|comments?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?|downloads?|views?|followers?|replies|reply)\W*$/iu;
const control =
  /^\W*(?:share|tweet|pin it|print|reply|report|log ?in|sign ?in|sign ?up|subscribe|read more|items in cart|skip to (?:main )?content|back to top|previous|next|menu|search|home)\W*$/iu;
const noLetters = /^[^\p{L}]*$/u;
const letters = /\p{L}/gu;
const capitals = /\p{Lu}/gu;

/** Changes the text; counts lines left out by reason; drops documents: mostly-removed, no-line-left. */
export function linesFilter(options: LinesOptions = {}): Stage {
  const rules = { ...linesDefaults, ...options };
  return defineFilter("lines", rules, (document, account) => {
    const seen = new Set<string>();
    const kept: string[] = [];
    let [words, removed] = [0, 0];
    for (const raw of linesOf(document.text)) {
      const line = raw.trimEnd();
      const count = line.match(/\S+/g)?.length ?? 0;
      words += count;
      const reason = count === 0 ? null : reasonAgainst(line, seen, rules);
      if (rules.repeatedFrom > 0 && line.length >= rules.repeatedFrom) seen.add(line);
      if (reason !== null) {
        account.count(`lines: ${reason}`);
        removed += count;
      } else if (count > 0 || kept.at(-1) !== "") kept.push(line);
    }
    while (kept.at(-1) === "") kept.pop();
    while (kept[0] === "") kept.shift();
    if (kept.length === 0) return { drop: "no-line-left" };
    if (removed > rules.maxRemovedWords * words)
      return { drop: "mostly-removed", detail: `${removed} of ${words} words are in lines that are left out` };
    const text = kept.join("\n");
    return text === document.text ? document : { ...document, text };
  });
}

function reasonAgainst(line: string, seen: ReadonlySet<string>, rules: Required<LinesOptions>): string | null {
  if (rules.boilerplate) {
    if (counter.test(line)) return "counter";
    if (control.test(line)) return "control";
    if (noLetters.test(line)) return "no letter";
  }
  if (rules.repeatedFrom > 0 && seen.has(line)) return "repeated";
  if (rules.maxUpperCase < 1) {
    const all = line.match(letters)?.length ?? 0;
    if (all >= 10 && (line.match(capitals)?.length ?? 0) > rules.maxUpperCase * all) return "upper case";
  }
  return null;
}
