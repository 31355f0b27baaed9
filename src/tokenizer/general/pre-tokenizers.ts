/**
 * The pre-tokenizers of a tokenizer.json, as the Rust library `tokenizers` runs them: they cut pieces, and some change
 * their text. Called by general.ts; a type that is not here is refused when the file is opened.
 */
import { FormatError } from "../../platform/errors.ts";
import { GPT2_PATTERN } from "../pretokenize.ts";
import type { Component } from "../tokenizer-json.ts";
import { byteLetters } from "./normalizers.ts";
import {
  classFinder,
  compilePattern,
  type Finder,
  finderOf,
  inverted,
  patternFinder,
  type SplitBehavior,
  splitBehaviors,
  splitBy,
} from "./patterns.ts";
import type { Piece } from "./piece.ts";
import { isNumeric, isPunctuation, isSpace, isWord, scriptOf } from "./unicode.ts";

export type PreTokenizer = (pieces: Piece[]) => Piece[];

/** Cuts each piece of text; added tokens stay, parts of no length go. */
const cutting =
  (cut: (piece: Piece) => [number, number][]): PreTokenizer =>
  (pieces) => {
    const parts: Piece[] = [];
    for (const piece of pieces) {
      if (piece.id >= 0) parts.push(piece);
      else
        for (const [start, end] of cut(piece))
          if (start < end)
            parts.push({ text: piece.text.slice(start, end), first: piece.first && start === 0, id: -1 });
    }
    return parts;
  };

const split = (find: Finder, behavior: SplitBehavior): PreTokenizer =>
  cutting(({ text }) => splitBy(text, find, behavior));

const spaces = classFinder(isSpace);
const punctuation = classFinder(isPunctuation);
/** `\w+|[^\w\s]+`: what lies between is cut away. */
const words: Finder = (text) => {
  const kind = (codePoint: number) => (isWord(codePoint) ? 1 : isSpace(codePoint) ? 0 : 2);
  const stretches: ReturnType<Finder> = [];
  let start = 0;
  let before = -1;
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i)!;
    const now = kind(codePoint);
    if (now !== before && i > 0) {
      stretches.push({ start, end: i, isMatch: before === 0 });
      start = i;
    }
    before = now;
    i += codePoint > 0xffff ? 2 : 1;
  }
  if (before >= 0) stretches.push({ start, end: text.length, isMatch: before === 0 });
  return stretches;
};

/** @param where named in errors */
export function createPreTokenizer(component: Component | null, where: string): PreTokenizer | null {
  if (component === null) return null;
  const { type } = component;
  const refuse = (what: string) => new FormatError(`${where}: the pre-tokenizer ${JSON.stringify(type)} ${what}`);
  const behaviorOf = (value: unknown): SplitBehavior => {
    if (!splitBehaviors.includes(value as SplitBehavior))
      throw refuse(`has the behavior ${JSON.stringify(value)}; expected one of ${splitBehaviors.join(", ")}`);
    return value as SplitBehavior;
  };
  switch (type) {
    case "Sequence": {
      const steps = (component.pretokenizers as Component[]).map((step) => createPreTokenizer(step, where)!);
      return (pieces) => steps.reduce((now, step) => step(now), pieces);
    }
    case "Whitespace":
      return split(words, "Removed");
    case "WhitespaceSplit":
      return split(spaces, "Removed");
    case "BertPreTokenizer": {
      const [first, second] = [split(spaces, "Removed"), split(punctuation, "Isolated")];
      return (pieces) => second(first(pieces));
    }
    case "Punctuation":
      return split(punctuation, behaviorOf(component.behavior ?? "Isolated"));
    case "Digits":
      return split(classFinder(isNumeric), component.individual_digits === true ? "Isolated" : "Contiguous");
    case "CharDelimiterSplit": {
      const delimiter = (component.delimiter as string).codePointAt(0);
      return split(
        classFinder((codePoint) => codePoint === delimiter),
        "Removed",
      );
    }
    case "Split": {
      const find = finderOf(component.pattern as { String?: string; Regex?: string }, where);
      return split(component.invert === true ? inverted(find) : find, behaviorOf(component.behavior));
    }
    case "ByteLevel":
      return byteLevel(component, where);
    case "Metaspace":
      return metaspace(component);
    case "UnicodeScripts":
      return cutting(({ text }) => scriptRuns(text));
    case "FixedLength":
      return cutting(({ text }) => fixedRuns(text, (component.length as number | undefined) ?? 5));
    default:
      throw refuse("is not supported");
  }
}

function byteLevel(settings: Component, where: string): PreTokenizer {
  const cut =
    settings.use_regex === false ? null : split(patternFinder(compilePattern(GPT2_PATTERN, where)), "Isolated");
  return (pieces) => {
    if (settings.add_prefix_space !== false)
      for (const piece of pieces) if (piece.id < 0 && !piece.text.startsWith(" ")) piece.text = ` ${piece.text}`;
    const parts = cut ? cut(pieces) : pieces;
    for (const part of parts) if (part.id < 0) part.text = byteLetters(part.text);
    return parts;
  };
}

/** The settings of a Metaspace, of files old and new: the mark, and when it is put in front. */
export function metaspaceSettings(settings: Component): { mark: string; scheme: "always" | "never" | "first" } {
  const scheme = (settings.prepend_scheme ?? "always") as "always" | "never" | "first";
  return {
    mark: (settings.replacement ?? "\u2581") as string,
    scheme: settings.add_prefix_space === false ? "never" : scheme,
  };
}

function metaspace(settings: Component): PreTokenizer {
  const { mark, scheme } = metaspaceSettings(settings);
  const codePoint = mark.codePointAt(0);
  const cut =
    settings.split === false
      ? null
      : split(
          classFinder((c) => c === codePoint),
          "MergedWithNext",
        );
  return (pieces) => {
    for (const piece of pieces) {
      if (piece.id >= 0) continue;
      piece.text = piece.text.replaceAll(" ", mark);
      const wanted = scheme === "always" || (scheme === "first" && piece.first);
      if (wanted && !piece.text.startsWith(mark)) piece.text = mark + piece.text;
    }
    return cut ? cut(pieces) : pieces;
  };
}

/** Where the script changes; what has none of its own goes with what is around it. Text before the first script is dropped. */
function scriptRuns(text: string): [number, number][] {
  const cuts: number[] = [];
  let before: string | null | undefined;
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i)!;
    const script = scriptOf(codePoint);
    if (script !== null) {
      if (script !== before) cuts.push(i);
      before = script;
    }
    i += codePoint > 0xffff ? 2 : 1;
  }
  return cuts.map((start, i) => [start, cuts[i + 1] ?? text.length]);
}

function fixedRuns(text: string, length: number): [number, number][] {
  const runs: [number, number][] = [];
  let start = 0;
  let count = 0;
  for (let i = 0; i < text.length; ) {
    i += text.codePointAt(i)! > 0xffff ? 2 : 1;
    if (++count === length || i === text.length) {
      runs.push([start, i]);
      start = i;
      count = 0;
    }
  }
  return runs;
}
