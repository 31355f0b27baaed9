/**
 * A grammar over bytes: GBNF's characters become the bytes of their UTF-8, so that tokens, which may begin and end amid a
 * character, are matched byte by byte. Refuses what a matcher cannot run or finish. Made from gbnf.ts; run by matcher.ts.
 */
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { type Alternatives, type GbnfNode, parseGbnf, type Range } from "./gbnf.ts";

export type Element =
  /** One byte of a set: 256 flags. */
  | { readonly kind: "bytes"; readonly set: Uint8Array }
  /** A rule, min to max times. */
  | { readonly kind: "rule"; readonly rule: number; readonly min: number; readonly max: number };

export interface ElementSequence {
  readonly elements: readonly Element[];
  /** Bytes that the elements from each place on need at least; one entry more than elements. */
  readonly least: readonly number[];
}

export interface ByteGrammar {
  /** Each rule's alternatives; rule 0 is the root. */
  readonly rules: readonly (readonly ElementSequence[])[];
  /** Bytes that each rule needs at least. */
  readonly least: readonly number[];
}

/**
 * Parts of a grammar at most. A grammar of this size compiles in a fifth of a second; larger ones would hold the engine of
 * a server, which compiles the grammars of its requests.
 */
const maxParts = 400_000;

/**
 * @param source GBNF
 * @throws UnsupportedError for a grammar that is too large; FormatError for a mistake in it, a left-recursive rule, or one that no text ends
 */
export function compileGbnf(source: string): ByteGrammar {
  const parsed = parseGbnf(source);
  const names = ["root", ...[...parsed.keys()].filter((name) => name !== "root")];
  const indexOf = new Map(names.map((name, i) => [name, i]));
  const rules: Element[][][] = names.map(() => []);
  /** The rule that an element was written in, for errors. */
  const owners = [...names];
  const addRule = (owner: string, alternatives: Element[][]): number => {
    owners.push(owner);
    return rules.push(alternatives) - 1;
  };

  function compile(node: GbnfNode, owner: string, min = 1, max = 1): Element[] {
    const once = min === 1 && max === 1;
    switch (node.kind) {
      case "literal": {
        const bytes = literalBytes(node.text);
        return once ? bytes : [{ kind: "rule", rule: addRule(owner, [bytes]), min, max }];
      }
      case "class": {
        const ways = node.ranges.flatMap(([from, to]) => utf8Ranges(from, to));
        const single = byteSet(ways.filter((way) => way.length === 1).map(([range]) => range));
        const longer = ways.filter((way) => way.length > 1).map((way) => way.map((range) => byteSet([range])));
        const alternatives = [...(single.set.includes(1) ? [[single]] : []), ...longer];
        if (once && alternatives.length === 1) return alternatives[0];
        return [{ kind: "rule", rule: addRule(owner, alternatives), min, max }];
      }
      case "rule":
        return [{ kind: "rule", rule: indexOf.get(node.name)!, min, max }];
      case "group":
        return [{ kind: "rule", rule: addRule(owner, sequences(node.alternatives, owner)), min, max }];
      case "repeat": {
        if (node.max === 0) return [];
        if (once) return compile(node.node, owner, node.min, node.max);
        const inner = compile(node.node, owner, node.min, node.max);
        return [{ kind: "rule", rule: addRule(owner, [inner]), min, max }];
      }
    }
  }
  const sequences = (alternatives: Alternatives, owner: string): Element[][] =>
    alternatives.map((nodes) => nodes.flatMap((node) => compile(node, owner)));
  for (const [i, name] of names.entries()) rules[i] = sequences(parsed.get(name)!, name);
  const parts = rules.reduce((sum, alternatives) => sum + alternatives.reduce((n, each) => n + 1 + each.length, 1), 0);
  if (parts > maxParts)
    throw new UnsupportedError(
      `grammar: has ${parts} parts (rules, alternatives, and bytes or rules in them); at most ${maxParts} are supported`,
    );

  const least = leastBytes(rules);
  for (const [i, bytes] of least.entries())
    if (bytes === Number.POSITIVE_INFINITY)
      throw new FormatError(`grammar: no text ends the rule "${owners[i]}"; give it an alternative without itself`);
  refuseLeftRecursion(rules, least, owners);
  return {
    rules: rules.map((alternatives) =>
      alternatives.map((elements) => {
        const from = new Array<number>(elements.length + 1).fill(0);
        for (let i = elements.length - 1; i >= 0; i--) from[i] = from[i + 1] + leastOf(elements[i], least);
        return { elements, least: from };
      }),
    ),
    least,
  };
}

function byteSet(ranges: readonly Range[]): Element & { kind: "bytes" } {
  const set = new Uint8Array(256);
  for (const [from, to] of ranges) set.fill(1, from, to + 1);
  return { kind: "bytes", set };
}

const leastOf = (element: Element, least: readonly number[]): number =>
  element.kind === "bytes" ? 1 : element.min === 0 ? 0 : element.min * least[element.rule];

/** Every text of UTF-8 is matched by bytes: one encoder, and one set for each byte. */
const encoder = new TextEncoder();
const singleBytes = Array.from({ length: 256 }, (_, byte) => byteSet([[byte, byte]]));
const literalBytes = (text: string): Element[] => Array.from(encoder.encode(text), (byte) => singleBytes[byte]);

/**
 * The length of each rule's shortest text; infinite where there is none. Rules are settled in order of length, shortest
 * first (Knuth, "A generalization of Dijkstra's algorithm", 1977), so the work is n log n in the grammar's size whatever
 * order its rules are written in.
 */
function leastBytes(rules: readonly Element[][][]): number[] {
  const least = rules.map(() => Number.POSITIVE_INFINITY);
  /** An alternative: its rule, its bytes so far, and the elements whose rule is not settled yet. */
  interface Open {
    readonly rule: number;
    bytes: number;
    left: number;
  }
  const users: { open: Open; times: number }[][] = rules.map(() => []);
  const heap = new Heap();
  for (const [rule, alternatives] of rules.entries())
    for (const elements of alternatives) {
      const open: Open = { rule, bytes: 0, left: 0 };
      for (const element of elements) {
        if (element.kind === "bytes") open.bytes++;
        else if (element.min > 0) {
          open.left++;
          users[element.rule].push({ open, times: element.min });
        }
      }
      if (open.left === 0) heap.push(open.bytes, rule);
    }
  for (let next = heap.pop(); next; next = heap.pop()) {
    const { cost, item: rule } = next;
    if (least[rule] !== Number.POSITIVE_INFINITY) continue;
    least[rule] = cost;
    for (const { open, times } of users[rule]) {
      open.bytes += times * cost;
      if (--open.left === 0) heap.push(open.bytes, open.rule);
    }
  }
  return least;
}

/** The cheapest first. */
class Heap {
  private readonly costs: number[] = [];
  private readonly items: number[] = [];

  push(cost: number, item: number): void {
    const { costs, items } = this;
    let at = costs.push(cost) - 1;
    items.push(item);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (costs[above] <= costs[at]) return;
      this.swap(at, above);
      at = above;
    }
  }

  pop(): { cost: number; item: number } | null {
    const { costs, items } = this;
    if (costs.length === 0) return null;
    this.swap(0, costs.length - 1);
    const popped = { cost: costs.pop()!, item: items.pop()! };
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < costs.length && costs[child] < costs[least]) least = child;
      if (least === at) return popped;
      this.swap(at, least);
      at = least;
    }
  }

  private swap(a: number, b: number): void {
    const { costs, items } = this;
    [costs[a], costs[b]] = [costs[b], costs[a]];
    [items[a], items[b]] = [items[b], items[a]];
  }
}

/** A rule that can begin with itself would never come to a byte. */
function refuseLeftRecursion(rules: readonly Element[][][], least: readonly number[], owners: readonly string[]): void {
  const first = rules.map((alternatives) => {
    const found = new Set<number>();
    for (const elements of alternatives)
      for (const element of elements) {
        if (element.kind === "rule") found.add(element.rule);
        if (leastOf(element, least) > 0) break;
      }
    return [...found];
  });
  const done = new Set<number>();
  for (const start of rules.keys()) {
    // Depth first, with a stack of our own: a grammar may be long.
    const path: { rule: number; next: number }[] = [];
    const onPath = new Set<number>();
    const enter = (rule: number) => {
      if (onPath.has(rule))
        throw new FormatError(
          `grammar: the rule "${owners[rule]}" is left-recursive: it can begin with itself; put what it begins with first, and repeat the rest`,
        );
      if (done.has(rule)) return;
      onPath.add(rule);
      path.push({ rule, next: 0 });
    };
    enter(start);
    while (path.length > 0) {
      const top = path[path.length - 1];
      if (top.next < first[top.rule].length) {
        enter(first[top.rule][top.next++]);
      } else {
        done.add(top.rule);
        onPath.delete(top.rule);
        path.pop();
      }
    }
  }
}

/**
 * The UTF-8 of a range of code points, as ranges of bytes in sequence: [0x80, 0x7FF] is C2..DF 80..BF. Surrogates, which
 * UTF-8 has not, are left out. (The way of Russ Cox, "Regular Expression Matching in the Wild", 2010.)
 */
export function utf8Ranges(from: number, to: number): Range[][] {
  if (from > to) return [];
  if (from <= 0xdfff && to >= 0xd800)
    return [...utf8Ranges(from, Math.min(to, 0xd7ff)), ...utf8Ranges(Math.max(from, 0xe000), to)];
  for (const last of [0x7f, 0x7ff, 0xffff])
    if (from <= last && to > last) return [...utf8Ranges(from, last), ...utf8Ranges(last + 1, to)];
  if (to <= 0x7f) return [[[from, to]]];
  // Cut so that where an earlier byte varies, all later ones take every value.
  for (let bits = 6; bits <= 18; bits += 6) {
    const mask = 2 ** bits - 1;
    if (from >> bits === to >> bits) continue;
    if ((from & mask) !== 0) {
      const cut = from | mask;
      if (cut < to) return [...utf8Ranges(from, cut), ...utf8Ranges(cut + 1, to)];
    }
    if ((to & mask) !== mask) {
      const cut = to & ~mask;
      if (cut > from) return [...utf8Ranges(from, cut - 1), ...utf8Ranges(cut, to)];
    }
  }
  const encode = (codePoint: number) => encoder.encode(String.fromCodePoint(codePoint));
  const [low, high] = [encode(from), encode(to)];
  return [Array.from(low, (byte, i): Range => [byte, high[i]])];
}
