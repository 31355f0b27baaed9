/**
 * JSON's parts as GBNF: strings, numbers, dates, and what a schema may narrow them to. Texts alone; json-schema.ts puts them
 * together.
 */
import { UnsupportedError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";

/** Rules for JSON without a schema. White space as llama.cpp has it: little, or a model may write nothing else. */
export const common: Record<string, string> = {
  ws: '| " " | "\\n" [ \\t]{0,20}',
  // Escapes of surrogates are left out: half a pair is no character, and a pair would count as two.
  char: '[^"\\\\\\x00-\\x1F] | "\\\\" (["\\\\/bfnrt] | "u" ([0-9A-Ca-cE-Fe-f] hex hex hex | [Dd] [0-7] hex hex))',
  hex: "[0-9A-Fa-f]",
  string: '"\\"" char* "\\""',
  // 15 digits: every such integer is a double, exactly.
  integer: '"-"? ("0" | [1-9] [0-9]{0,14})',
  // At most 16 digits before, and an exponent of two: a double holds it.
  whole: '"0" | [1-9] [0-9]{0,15}',
  number: '"-"? whole ("." [0-9]{1,16})? ([eE] [+-]? [0-9]{1,2})?',
  boolean: '"true" | "false"',
  null: '"null"',
  value: "object | array | string | number | boolean | null",
  object: '"{" ws (string ws ":" ws value ws ("," ws string ws ":" ws value ws)*)? "}"',
  array: '"[" ws (value ws ("," ws value ws)*)? "]"',
  digit: "[0-9]",
  date: 'digit{4} "-" ("0" [13578] "-" day31 | "10-" day31 | "12-" day31 | "0" [469] "-" day30 | "11-" day30 | "02-" day28)',
  day28: '"0" [1-9] | "1" digit | "2" [0-8]',
  day30: '"0" [1-9] | [12] digit | "30"',
  day31: 'day30 | "31"',
  time: '([01] digit | "2" [0-3]) ":" [0-5] digit ":" [0-5] digit ("." digit{1,9})? ("Z" | [+-] ([01] digit | "2" [0-3]) ":" [0-5] digit)',
  uuid: 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
};
export const references = /"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|([a-z][\w-]*)/g;

/** A character that a JSON string holds as it is. */
const isPlain = (c: string): boolean => {
  const codePoint = c.codePointAt(0)!;
  return codePoint >= 0x20 && c !== '"' && c !== "\\" && !(codePoint >= 0xd800 && codePoint <= 0xdfff);
};

/** A text as a literal of GBNF. */
export function quote(text: string): string {
  const escaped = Array.from(text, (c) => {
    if (c === '"' || c === "\\") return `\\${c}`;
    return isPlain(c) ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return `"${escaped.join("")}"`;
}

/** So many choices stand side by side as they are; more become a tree. */
const maxFlatChoices = 16;

/**
 * One of these texts, as literals. Many of them become a tree by what they begin with, so that a text is compared with the
 * few that go on as it does, never with all.
 *
 * @param rule makes a rule of a body and gives its name
 */
export function quotedChoices(texts: readonly string[], rule: (body: string) => string): string {
  if (texts.length <= maxFlatChoices) return texts.map(quote).join(" | ");
  const sorted = [...new Set(texts)].sort().map((text) => Array.from(text));
  return choices(sorted, 0, rule);
}

/** Sorted texts that are alike up to character `at`. */
function choices(texts: readonly string[][], at: number, rule: (body: string) => string): string {
  const ways: string[] = [];
  for (let from = 0; from < texts.length; ) {
    const first = texts[from];
    if (first.length === at) {
      ways.push('""');
      from++;
      continue;
    }
    let to = from + 1;
    while (to < texts.length && texts[to][at] === first[at]) to++;
    if (to === from + 1) ways.push(quote(first.slice(at).join("")));
    else {
      // Sorted: what the first and the last share, all share.
      const last = texts[to - 1];
      let end = at + 1;
      while (end < first.length && end < last.length && first[end] === last[end]) end++;
      ways.push(`${quote(first.slice(at, end).join(""))} ${rule(choices(texts.slice(from, to), end, rule))}`);
    }
    from = to;
  }
  return ways.join(" | ");
}

/** Names whose opposites can be told: each character of them is a place in the tree below. */
const maxNameLength = 256;

/**
 * A string, written without escapes, that is none of these: a trie of the names, with what leaves it at each place.
 *
 * @param rule makes a rule of a body and gives its name
 */
export function otherString(names: readonly string[], rule: (body: string) => string): string {
  const plain = '[^"\\\\\\x00-\\x1F]';
  interface Node {
    children: Map<string, Node>;
    isName: boolean;
  }
  const root: Node = { children: new Map(), isName: false };
  for (const name of names) {
    if (name.length > maxNameLength)
      throw new UnsupportedError(
        `schema: the property ${show(name)} beside additionalProperties has more than ${maxNameLength} characters; set additionalProperties to false, or use shorter names`,
      );
    let node = root;
    for (const c of name) {
      const child = node.children.get(c) ?? { children: new Map(), isName: false };
      node.children.set(c, child);
      node = child;
    }
    node.isName = true;
  }
  // What may stand from a node on, up to the closing quote.
  const rest = (node: Node): string => {
    const children = [...node.children].filter(([c]) => isPlain(c));
    const inClass = children.map(([c]) => `\\U${c.codePointAt(0)!.toString(16).padStart(8, "0")}`);
    const ways = [
      ...(node.isName ? [] : ['""']),
      `[^"\\\\\\x00-\\x1F${inClass.join("")}] ${plain}*`,
      ...children.map(([c, child]) => `${quote(c)} ${rule(rest(child))}`),
    ];
    return ways.join(" | ");
  };
  return `"\\"" ${rule(rest(root))} "\\""`;
}

/** Decimal integers from low to high, either of which may be infinite: then up to where doubles are exact. */
export function integerRange(low: number, high: number): string {
  const ways: string[] = [];
  if (low < 0) {
    const most = low === -Infinity ? Infinity : -low;
    ways.push(`"-" (${naturalRange(high < 0 ? -high : 1, most)})`);
  }
  if (high >= 0) ways.push(naturalRange(Math.max(0, low), high));
  return ways.join(" | ");
}

/** From 0 <= low <= high. */
function naturalRange(low: number, high: number): string {
  const most = String(Math.min(high, Number.MAX_SAFE_INTEGER));
  const least = String(low);
  const ways: string[] = [];
  for (let digits = least.length; digits <= most.length; digits++) {
    const from = digits === least.length ? least : `1${"0".repeat(digits - 1)}`;
    const to = digits === most.length ? most : "9".repeat(digits);
    ways.push(sameLength(from, to));
  }
  return ways.join(" | ");
}

/** Digit texts of one length from `from` to `to`. */
function sameLength(from: string, to: string): string {
  if (from === to) return `"${from}"`;
  const digits = (a: string, b: string) => (a === b ? `"${a}"` : `[${a}-${b}]`);
  const n = from.length;
  if (n === 1) return digits(from, to);
  if (from[0] === to[0]) return `"${from[0]}" (${sameLength(from.slice(1), to.slice(1))})`;
  const zeros = "0".repeat(n - 1);
  const nines = "9".repeat(n - 1);
  const ways: string[] = [];
  let first = Number(from[0]);
  let last = Number(to[0]);
  if (from.slice(1) !== zeros) ways.push(`"${first++}" (${sameLength(from.slice(1), nines)})`);
  if (to.slice(1) !== nines) ways.push(`"${last--}" (${sameLength(zeros, to.slice(1))})`);
  if (first <= last) ways.push(`${digits(String(first), String(last))} [0-9]{${n - 1}}`);
  return ways.join(" | ");
}
