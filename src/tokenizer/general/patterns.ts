/**
 * Patterns of a tokenizer.json. The Rust library runs them by Oniguruma, whose syntax and classes are not JavaScript's
 * (possessive quantifiers, atomic groups, `\s`, `\w`, POSIX classes); oniguruma-to-es translates them. What cannot be
 * translated is refused when the file is opened.
 */
import { toRegExp, toRegExpDetails } from "oniguruma-to-es";
import { FormatError } from "../../platform/errors.ts";

/** A stretch of a text, by UTF-16 units, and whether it is a match or lies between two. */
export interface Stretch {
  start: number;
  end: number;
  isMatch: boolean;
}

/** Cuts a text into matches and what lies between them: all of it, in order. */
export type Finder = (text: string) => Stretch[];

/** @param pattern {"String": ...} or {"Regex": ...}, checked by component-check.ts */
export function finderOf(pattern: { String?: string; Regex?: string }, where: string): Finder {
  if (typeof pattern.String === "string" && pattern.String !== "") return literalFinder(pattern.String);
  return patternFinder(compilePattern(pattern.Regex ?? "", where));
}

/** @throws FormatError for a pattern that is none, or that JavaScript cannot run to the same matches */
export function compilePattern(source: string, where: string): RegExp {
  const options = { global: true, accuracy: "strict" } as const;
  try {
    const written = withExactWords(source);
    // A pattern that ignores case as a whole becomes one with the flag "i", which folds classes too (\p{Lu}) as Oniguruma
    // does not. An alternative that never matches, and minds its case, keeps the flag away.
    const scoped = /\(\?[a-z-]*i/.test(written) ? `(?:${written})|(?!)k` : written;
    const { pattern, flags, options: emulated } = toRegExpDetails(scoped, options);
    // Any character: V8 11, of Node 20, takes "[^]+" with the flag "v" for one character.
    const any = pattern.replace(/(?<!\\)\[\^\]/g, "[\\s\\S]");
    return emulated?.strategy ? toRegExp(scoped, options) : new RegExp(any, flags);
  } catch (cause) {
    throw new FormatError(
      `${where}: the pattern ${JSON.stringify(source)} cannot be run (${(cause as Error).message}); expected a regular expression in Oniguruma's syntax`,
      { cause },
    );
  }
}

/** Oniguruma's `\w`: the translation takes all numbers, and leaves out letters in circles. */
const word = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\u00b2\u00b3\u00b9\u00bc-\u00be";
const boundary = `(?:(?<=[${word}])(?![${word}])|(?<![${word}])(?=[${word}]))`;
const noBoundary = `(?:(?<=[${word}])(?=[${word}])|(?<![${word}])(?![${word}]))`;

/** Writes the escapes that speak of words out. */
function withExactWords(source: string): string {
  let written = "";
  let depth = 0;
  for (let i = 0; i < source.length; i++) {
    const char = source[i];
    if (char === "[") depth++;
    else if (char === "]" && depth > 0) depth--;
    if (char !== "\\" || i + 1 === source.length) {
      written += char;
      continue;
    }
    const escaped = source[++i];
    if (escaped === "w") written += `[${word}]`;
    else if (escaped === "W") written += `[^${word}]`;
    else if (escaped === "b" && depth === 0) written += boundary;
    else if (escaped === "B" && depth === 0) written += noBoundary;
    else written += `\\${escaped}`;
  }
  return written;
}

/** Matches as Oniguruma's iterator gives them: an empty one right behind another is passed over. */
export function patternFinder(pattern: RegExp): Finder {
  return (text) => {
    const stretches: Stretch[] = [];
    let from = 0;
    let at = 0;
    let matched = -1;
    while (at <= text.length) {
      pattern.lastIndex = at;
      const match = pattern.exec(text);
      if (match === null) break;
      const { index } = match;
      const end = index + match[0].length;
      if (end === index && matched === end) {
        at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
        continue;
      }
      if (from < index) stretches.push({ start: from, end: index, isMatch: false });
      stretches.push({ start: index, end, isMatch: true });
      at = end;
      matched = end;
      from = end;
    }
    if (from < text.length || text.length === 0) stretches.push({ start: from, end: text.length, isMatch: false });
    return stretches;
  };
}

function literalFinder(literal: string): Finder {
  return (text) => {
    const stretches: Stretch[] = [];
    let from = 0;
    for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, from)) {
      if (from < at) stretches.push({ start: from, end: at, isMatch: false });
      from = at + literal.length;
      stretches.push({ start: at, end: from, isMatch: true });
    }
    if (from < text.length || text.length === 0) stretches.push({ start: from, end: text.length, isMatch: false });
    return stretches;
  };
}

/** Each character of a class is a match of its own. */
export function classFinder(holds: (codePoint: number) => boolean): Finder {
  return (text) => {
    const stretches: Stretch[] = [];
    let from = 0;
    for (let i = 0; i < text.length; ) {
      const codePoint = text.codePointAt(i)!;
      const end = i + (codePoint > 0xffff ? 2 : 1);
      if (holds(codePoint)) {
        if (from < i) stretches.push({ start: from, end: i, isMatch: false });
        stretches.push({ start: i, end, isMatch: true });
        from = end;
      }
      i = end;
    }
    if (from < text.length || text.length === 0) stretches.push({ start: from, end: text.length, isMatch: false });
    return stretches;
  };
}

/** What is a match becomes what lies between, and the other way round. */
export const inverted =
  (finder: Finder): Finder =>
  (text) =>
    finder(text).map((stretch) => ({ ...stretch, isMatch: !stretch.isMatch }));

export const splitBehaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
export type SplitBehavior = (typeof splitBehaviors)[number];

/** The parts of a text that a Split leaves, as [start, end). */
export function splitBy(text: string, finder: Finder, behavior: SplitBehavior): [number, number][] {
  const stretches = finder(text);
  const parts: [number, number][] = [];
  let matchedBefore = false;
  switch (behavior) {
    case "Removed":
      return stretches.filter(({ isMatch }) => !isMatch).map(({ start, end }) => [start, end]);
    case "Isolated":
      return stretches.map(({ start, end }) => [start, end]);
    case "Contiguous":
      for (const { start, end, isMatch } of stretches) {
        if (isMatch === matchedBefore && parts.length > 0) parts[parts.length - 1][1] = end;
        else parts.push([start, end]);
        matchedBefore = isMatch;
      }
      return parts;
    case "MergedWithPrevious":
      for (const { start, end, isMatch } of stretches) {
        if (isMatch && !matchedBefore && parts.length > 0) parts[parts.length - 1][1] = end;
        else parts.push([start, end]);
        matchedBefore = isMatch;
      }
      return parts;
    case "MergedWithNext":
      for (const { start, end, isMatch } of stretches.reverse()) {
        if (isMatch && !matchedBefore && parts.length > 0) parts[parts.length - 1][0] = start;
        else parts.push([start, end]);
        matchedBefore = isMatch;
      }
      return parts.reverse();
  }
}
