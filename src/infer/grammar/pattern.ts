/**
 * A schema's `pattern` as GBNF: regular expressions that describe a whole string, ^...$, made of characters, classes,
 * groups, alternatives and repetition. What can look around or back is refused by name. The string's characters stand as
 * JSON has them inside quotes, unescaped, save the quote and the backslash. Called by json-schema.ts.
 */
import { UnsupportedError, UsageError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";
import { normalizeRanges, type Range } from "./gbnf.ts";

const shorthand: Record<string, readonly Range[]> = {
  d: [[0x30, 0x39]],
  w: [
    [0x30, 0x39],
    [0x41, 0x5a],
    [0x5f, 0x5f],
    [0x61, 0x7a],
  ],
  // What JSON can hold unescaped of \s: the ASCII space. (No-break and other spaces match too; a part is enough.)
  s: [[0x20, 0x20]],
};

/** Characters that stand in a JSON string as they are. */
const plain: readonly Range[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0xffff],
];

/** Characters of a pattern at most: each becomes a class of its own. */
const maxLength = 10_000;

/** @throws UnsupportedError for what is not supported, UsageError for what is no regular expression */
export function patternToGbnf(pattern: string, where: string): string {
  if (pattern.length > maxLength)
    throw new UnsupportedError(`${where}: has ${pattern.length} characters; at most ${maxLength} are supported`);
  try {
    new RegExp(pattern, "u");
  } catch (error) {
    const why = (error as Error).message.replace(/^Invalid regular expression: .*: /s, "");
    throw new UsageError(`${where}: is no regular expression: ${show(pattern)} (${why})`);
  }
  const refuse = (what: string): never => {
    throw new UnsupportedError(`${where}: ${what} is not supported in ${show(pattern)}`);
  };
  if (!pattern.startsWith("^") || !/(^|[^\\])(\\\\)*\$$/.test(pattern))
    refuse("a pattern for a part of the string (write ^...$)");
  let at = 1;
  const end = pattern.length - 1;

  function alternatives(depth: number): string {
    if (depth > 100) refuse("nesting deeper than 100");
    const ways = [sequence(depth)];
    while (pattern[at] === "|") {
      // ^a|b$ is ^a or b$, neither of which describes a whole string.
      if (depth === 0) refuse('"|" outside a group (write ^(...|...)$)');
      at++;
      ways.push(sequence(depth));
    }
    return ways.join(" | ");
  }

  function sequence(depth: number): string {
    const parts: string[] = [];
    while (at < end && pattern[at] !== "|" && pattern[at] !== ")") {
      let part = atom(depth);
      const counts = /^(?:[*+?]|\{\d+(?:,\d*)?\})/.exec(pattern.slice(at, end))?.[0];
      if (counts) {
        at += counts.length;
        if (at < end && pattern[at] === "?") at++; // lazy: the same strings
        part = `(${part})${counts}`;
      }
      parts.push(part);
    }
    return parts.length > 0 ? parts.join(" ") : '""';
  }

  function atom(depth: number): string {
    const c = String.fromCodePoint(pattern.codePointAt(at)!);
    at += c.length;
    if (c === "(") {
      if (pattern[at] === "?" && pattern[at + 1] !== ":") refuse(`"(${pattern.slice(at, at + 2)}"`);
      if (pattern[at] === "?") at += 2;
      const inner = alternatives(depth + 1);
      at++;
      return `(${inner})`;
    }
    if (c === "[") return characterClass();
    if (c === ".") return charClass(subtract(plain, [[0x2028, 0x2029]]));
    if (c === "^" || c === "$") refuse(`"${c}" amid the pattern`);
    if (c === "\\") return charClass(escaped());
    return single(c);
  }

  function single(c: string): string {
    const codePoint = c.codePointAt(0)!;
    if (codePoint < 0x20) refuse("a control character");
    return charClass([[codePoint, codePoint]]);
  }

  /** What follows a backslash, as ranges. */
  function escaped(): readonly Range[] {
    const c = pattern[at++];
    if (c in shorthand) return shorthand[c];
    if (c.toLowerCase() in shorthand) {
      if (c === "S") return refuse('"\\S"');
      return subtract(plain, shorthand[c.toLowerCase()]);
    }
    const hex = /^(?:x([\dA-Fa-f]{2})|u([\dA-Fa-f]{4})|u\{([\dA-Fa-f]+)\})/.exec(pattern.slice(at - 1));
    if (hex) {
      at += hex[0].length - 1;
      const codePoint = Number.parseInt(hex[1] ?? hex[2] ?? hex[3], 16);
      if (codePoint < 0x20 || (codePoint >= 0xd800 && codePoint <= 0xdfff))
        refuse("a control character or half of a pair");
      return [[codePoint, codePoint]];
    }
    if (/[A-Za-z0-9]/.test(c)) return refuse(`"\\${c}"`);
    return [[c.codePointAt(0)!, c.codePointAt(0)!]];
  }

  function characterClass(): string {
    const negated = pattern[at] === "^";
    if (negated) at++;
    const ranges: Range[] = [];
    const one = (): readonly Range[] => {
      const c = String.fromCodePoint(pattern.codePointAt(at)!);
      at += c.length;
      if (c === "\\") return pattern[at] === "b" ? refuse('"\\b"') : escaped();
      return [[c.codePointAt(0)!, c.codePointAt(0)!]];
    };
    while (pattern[at] !== "]") {
      const from = one();
      if (pattern[at] === "-" && pattern[at + 1] !== "]") {
        at++;
        ranges.push([from[0][0], one()[0][1]]);
      } else {
        ranges.push(...from);
      }
    }
    at++;
    return charClass(negated ? subtract(plain, ranges) : ranges);
  }

  const body = alternatives(0);
  if (at !== end) refuse(`"${pattern[at]}"`);
  return body;

  /** Characters as a class; the quote and the backslash as JSON escapes them. */
  function charClass(ranges: readonly Range[]): string {
    const hex = (codePoint: number) => `\\U${codePoint.toString(16).padStart(8, "0")}`;
    const kept = intersect(normalizeRanges(ranges), [...plain, [0x10000, 0x10ffff]]);
    const has = (codePoint: number) => ranges.some(([from, to]) => from <= codePoint && codePoint <= to);
    const ways = [
      ...(kept.length > 0 ? [`[${kept.map(([from, to]) => `${hex(from)}-${hex(to)}`).join("")}]`] : []),
      ...(has(0x22) ? ['"\\\\\\""'] : []),
      ...(has(0x5c) ? ['"\\\\\\\\"'] : []),
    ];
    if (ways.length === 0) refuse("a class of no characters that JSON holds unescaped");
    return ways.length === 1 ? ways[0] : `(${ways.join(" | ")})`;
  }
}

function intersect(a: readonly Range[], b: readonly Range[]): Range[] {
  const kept: Range[] = [];
  for (const [from, to] of a)
    for (const [low, high] of b)
      if (Math.max(from, low) <= Math.min(to, high)) kept.push([Math.max(from, low), Math.min(to, high)]);
  return kept;
}

function subtract(from: readonly Range[], what: readonly Range[]): Range[] {
  let left: Range[] = [...from];
  for (const [low, high] of what)
    left = left.flatMap(([a, b]): Range[] => {
      if (high < a || low > b) return [[a, b]];
      const parts: Range[] = [];
      if (a < low) parts.push([a, low - 1]);
      if (high < b) parts.push([high + 1, b]);
      return parts;
    });
  return left;
}
