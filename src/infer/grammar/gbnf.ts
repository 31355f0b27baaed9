/**
 * GBNF, llama.cpp's notation for grammars (its grammars/README.md), read into a tree.
 *
 *   root  ::= "yes" | "no" answer{1,3}    literals, alternatives, repetition: * + ? {m} {m,} {m,n}
 *   answer ::= [a-z] [^"\\] . ( "x" )     classes of characters, any character, groups; # comments
 *
 * Escapes: \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH. Token references (<[1]>, !<think>) are not supported. Pure:
 * knows no tokens. byte-grammar.ts makes of it what a matcher runs.
 */
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { escapeControls } from "../../platform/show.ts";

/** Code points from and to, both included. */
export type Range = readonly [from: number, to: number];

export type GbnfNode =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "class"; readonly ranges: readonly Range[] }
  | { readonly kind: "rule"; readonly name: string }
  | { readonly kind: "group"; readonly alternatives: Alternatives }
  | { readonly kind: "repeat"; readonly node: GbnfNode; readonly min: number; readonly max: number };

export type Alternatives = readonly (readonly GbnfNode[])[];
/** Rules by name; the text begins with "root". */
export type GbnfRules = ReadonlyMap<string, Alternatives>;

const lastCodePoint = 0x10ffff;
/** A count in braces may be so large: more is a slip of the pen, and would only be slow. */
const maxRepeat = 100_000;
/** Groups inside groups: bounds the parser's own stack. */
const maxDepth = 200;
/** Characters of a grammar at most: a schema of some thousand properties makes 500,000. */
const maxLength = 2_000_000;

/** @throws FormatError with line and column, what was wanted and what came; UnsupportedError for one that is too long */
export function parseGbnf(source: string): GbnfRules {
  if (source.length > maxLength)
    throw new UnsupportedError(`grammar: has ${source.length} characters; at most ${maxLength} are supported`);
  return new Parser(source).rules();
}

class Parser {
  private at = 0;
  private depth = 0;
  private readonly used = new Map<string, number>();

  constructor(private readonly source: string) {}

  rules(): GbnfRules {
    const rules = new Map<string, Alternatives>();
    this.space(true);
    while (this.at < this.source.length) {
      const start = this.at;
      const name = this.name();
      if (rules.has(name)) this.fail(`the rule "${name}" is there already`, start);
      this.space(false);
      this.expect("::=");
      this.space(true);
      rules.set(name, this.alternatives(false));
      if (this.at < this.source.length && !/[\r\n]/.test(this.source[this.at]))
        this.fail(`expected a newline after the rule "${name}"`);
      this.space(true);
    }
    if (!rules.has("root")) this.fail('there is no rule "root", with which the text begins', 0);
    for (const [name, at] of this.used) if (!rules.has(name)) this.fail(`the rule "${name}" is not defined`, at);
    return rules;
  }

  private alternatives(nested: boolean): Alternatives {
    if (++this.depth > maxDepth) this.fail(`groups are nested deeper than ${maxDepth}`);
    const found = [this.sequence(nested)];
    while (this.source[this.at] === "|" || (!nested && this.continues())) {
      this.at++;
      this.space(true);
      found.push(this.sequence(nested));
    }
    this.depth--;
    return found;
  }

  /** Whether the rule goes on with an alternative that begins a line; then it is the next character. */
  private continues(): boolean {
    const before = this.at;
    this.space(true);
    if (this.source[this.at] === "|") return true;
    this.at = before;
    return false;
  }

  private sequence(nested: boolean): GbnfNode[] {
    const nodes: GbnfNode[] = [];
    for (;;) {
      const c = this.source[this.at];
      if (c === undefined || c === "|" || c === ")" || c === "\r" || c === "\n") return nodes;
      if (/[*+?{]/.test(c)) {
        const node = nodes.pop();
        if (!node) this.fail(`expected something before "${c}" to repeat`);
        nodes.push({ kind: "repeat", node, ...this.counts() });
      } else {
        nodes.push(this.node(c));
      }
      this.space(nested);
    }
  }

  private node(c: string): GbnfNode {
    const start = this.at;
    if (c === '"') return { kind: "literal", text: this.literal() };
    if (c === "[") return { kind: "class", ranges: this.characterClass() };
    if (c === ".") {
      this.at++;
      return { kind: "class", ranges: [[0, lastCodePoint]] };
    }
    if (c === "(") {
      this.at++;
      this.space(true);
      const alternatives = this.alternatives(true);
      if (this.source[this.at] !== ")") this.fail('expected ")"');
      this.at++;
      return { kind: "group", alternatives };
    }
    if (c === "<" || c === "!") this.fail("references to tokens are not supported");
    const name = this.name();
    if (!this.used.has(name)) this.used.set(name, start);
    return { kind: "rule", name };
  }

  private counts(): { min: number; max: number } {
    const c = this.source[this.at++];
    if (c === "*") return { min: 0, max: Number.POSITIVE_INFINITY };
    if (c === "+") return { min: 1, max: Number.POSITIVE_INFINITY };
    if (c === "?") return { min: 0, max: 1 };
    const match = /^\s*(\d+)\s*(?:(,)\s*(\d+)?\s*)?\}/.exec(this.source.slice(this.at, this.at + 40));
    if (!match) this.fail("expected {m}, {m,} or {m,n}", this.at - 1);
    const min = Number(match[1]);
    const max = match[3] !== undefined ? Number(match[3]) : match[2] ? Number.POSITIVE_INFINITY : min;
    if (min > max) this.fail(`repeats from ${min} to ${max}`, this.at - 1);
    if (min > maxRepeat || (max > maxRepeat && Number.isFinite(max)))
      this.fail(`repeats more than ${maxRepeat} times`, this.at - 1);
    this.at += match[0].length;
    return { min, max };
  }

  private literal(): string {
    const start = this.at++;
    let text = "";
    while (this.source[this.at] !== '"') {
      if (this.at >= this.source.length || this.source[this.at] === "\n") this.fail("this text has no end", start);
      text += String.fromCodePoint(this.character());
    }
    this.at++;
    return text;
  }

  private characterClass(): Range[] {
    const start = this.at++;
    const negated = this.source[this.at] === "^";
    if (negated) this.at++;
    const ranges: Range[] = [];
    while (this.source[this.at] !== "]") {
      if (this.at >= this.source.length) this.fail("this class of characters has no end", start);
      const from = this.character();
      let to = from;
      if (this.source[this.at] === "-" && this.source[this.at + 1] !== "]") {
        this.at++;
        to = this.character();
        if (to < from) this.fail("this range is the wrong way round", start);
      }
      ranges.push([from, to]);
    }
    this.at++;
    const kept = normalizeRanges(ranges);
    return negated ? complement(kept) : kept;
  }

  /** A code point, escaped or not. */
  private character(): number {
    const codePoint = this.source.codePointAt(this.at);
    if (codePoint === undefined) this.fail("expected a character");
    if (codePoint !== 0x5c) {
      this.at += codePoint > 0xffff ? 2 : 1;
      return codePoint;
    }
    const c = this.source[this.at + 1];
    const simple: Record<string, string> = { n: "\n", r: "\r", t: "\t", "\\": "\\", '"': '"', "[": "[", "]": "]" };
    if (c in simple) {
      this.at += 2;
      return simple[c].charCodeAt(0);
    }
    const digits = { x: 2, u: 4, U: 8 }[c];
    const hex = digits ? this.source.slice(this.at + 2, this.at + 2 + digits) : "";
    const value = hex.length === digits && /^[\dA-Fa-f]+$/.test(hex) ? Number.parseInt(hex, 16) : -1;
    if (value < 0 || value > lastCodePoint || (value >= 0xd800 && value <= 0xdfff))
      this.fail('expected an escape: \\n \\r \\t \\\\ \\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH of a character');
    this.at += 2 + digits!;
    return value;
  }

  private name(): string {
    const match = /^[A-Za-z0-9_-]+/.exec(this.source.slice(this.at, this.at + 256));
    if (!match) this.fail("expected a rule's name");
    this.at += match[0].length;
    return match[0];
  }

  private expect(word: string): void {
    if (!this.source.startsWith(word, this.at)) this.fail(`expected "${word}"`);
    this.at += word.length;
  }

  /** Spaces and comments; newlines too where they have no meaning. */
  private space(newlines: boolean): void {
    const pattern = newlines ? /(?:[ \t\r\n]|#[^\r\n]*)*/y : /(?:[ \t]|#[^\r\n]*)*/y;
    pattern.lastIndex = this.at;
    pattern.exec(this.source);
    this.at = pattern.lastIndex;
  }

  private fail(what: string, at = this.at): never {
    const before = this.source.slice(0, at).split("\n");
    const came = escapeControls(this.source.slice(at, at + 12).split("\n")[0]);
    const column = before[before.length - 1].length + 1;
    throw new FormatError(`grammar, line ${before.length}, column ${column}: ${what}${came ? `; at "${came}"` : ""}`);
  }
}

/** Ranges in order, without overlap. */
export function normalizeRanges(ranges: readonly Range[]): Range[] {
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
  const kept: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = kept[kept.length - 1];
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else kept.push([from, to]);
  }
  return kept;
}

function complement(ranges: readonly Range[]): Range[] {
  const kept: Range[] = [];
  let next = 0;
  for (const [from, to] of ranges) {
    if (from > next) kept.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= lastCodePoint) kept.push([next, lastCodePoint]);
  return kept;
}
