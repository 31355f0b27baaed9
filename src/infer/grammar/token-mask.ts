/**
 * Which tokens may come next in a text held to a grammar. The vocabulary is a trie of the tokens' bytes, walked together
 * with the grammar's automaton: a branch that the grammar has no text for is left at its first byte. What was found for a
 * state is kept, and states come again (amid a string, say), so that most steps look one mask up.
 */
import { DataError, UnsupportedError } from "../../platform/errors.ts";
import { Matcher, type MatcherState } from "./matcher.ts";
import { type ByteGrammar, compileGbnf } from "./byte-grammar.ts";

/** The vocabulary as a trie in preorder. Node 0 is the root. */
export interface TokenTrie {
  readonly vocabSize: number;
  readonly byte: Uint8Array;
  readonly depth: Uint32Array;
  /** The node behind a node's branch. */
  readonly end: Int32Array;
  /** Place in `tokens` of the tokens that end at a node; one entry more than nodes. */
  readonly first: Int32Array;
  readonly tokens: Int32Array;
  readonly maxDepth: number;
}

/** @param bytesOf of each token 0 to vocabSize - 1; null (and empty) for what may never come */
export function buildTrie(vocabSize: number, bytesOf: (id: number) => Uint8Array | null): TokenTrie {
  const latin1 = new TextDecoder("latin1");
  // Byte order as string order. windows-1252, which "latin1" means here, maps some bytes to other characters: one to one.
  const entries: { key: string; bytes: Uint8Array; id: number }[] = [];
  let room = 1;
  for (let id = 0; id < vocabSize; id++) {
    const bytes = bytesOf(id);
    if (!bytes || bytes.length === 0) continue;
    entries.push({ key: latin1.decode(bytes), bytes, id });
    room += bytes.length;
  }
  entries.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.id - b.id));
  const byte = new Uint8Array(room);
  const depth = new Uint32Array(room);
  const end = new Int32Array(room);
  const first = new Int32Array(room + 1);
  const tokens = new Int32Array(entries.length);
  let nodes = 1;
  /** The path to the last token's node: path[d] is its node of depth d. */
  const path = [0];
  let before: Uint8Array = new Uint8Array(0);
  for (const [i, { bytes, id }] of entries.entries()) {
    let shared = 0;
    while (shared < before.length && shared < bytes.length && before[shared] === bytes[shared]) shared++;
    while (path.length - 1 > shared) end[path.pop()!] = nodes;
    for (let d = shared; d < bytes.length; d++) {
      byte[nodes] = bytes[d];
      depth[nodes] = d + 1;
      first[nodes] = i;
      path.push(nodes++);
    }
    tokens[i] = id;
    before = bytes;
  }
  for (const node of path) end[node] = nodes;
  // Tokens of a node: from where it was made to where the next node was.
  for (let node = nodes; node < first.length; node++) first[node] = entries.length;
  return {
    vocabSize,
    byte: byte.subarray(0, nodes),
    depth: depth.subarray(0, nodes),
    end: end.subarray(0, nodes),
    first: first.subarray(0, nodes + 1),
    tokens,
    maxDepth: depth.reduce((a, b) => Math.max(a, b), 0),
  };
}

interface Mask {
  /** A bit for each token. */
  bits: Uint32Array;
  /** The most bytes that any allowed token leaves to be written. */
  mostLeft: number;
  count: number;
}

/** Masks kept for so many bytes in all; then they are found anew. A server keeps 8 grammars. */
const maxMaskBytes = 8 * 2 ** 20;
/**
 * Places of a grammar that may be looked at to find the tokens that may come: for one token, and on average over the tokens
 * of all its texts, past a first allowance. A schema's grammar takes some thousand; a grammar of many alternatives that
 * begin alike would hold up everything that the same thread writes. 10^6 places take some 50 ms.
 */
const maxWorkOfMask = 4_000_000;
const firstWork = 20_000_000;
const meanWork = 200_000;

/** What a vocabulary must tell. */
export interface TokenBytes {
  readonly vocabSize: number;
  bytesOf?(id: number): Uint8Array | null;
}

const tries = new WeakMap<TokenBytes, TokenTrie>();

function trieOf(tokenizer: TokenBytes): TokenTrie {
  let trie = tries.get(tokenizer);
  if (!trie) {
    trie = buildTrie(tokenizer.vocabSize, (id) => tokenizer.bytesOf?.(id) ?? null);
    if (trie.tokens.length === 0)
      throw new UnsupportedError(
        "grammar: this tokenizer does not tell what bytes its tokens stand for; use a byte-level or SentencePiece tokenizer",
      );
    tries.set(tokenizer, trie);
  }
  return trie;
}

/** A compiled grammar: made once, used by any number of texts. */
export class Grammar {
  private readonly compiled: ByteGrammar;
  private readonly bound = new WeakMap<TokenBytes, TokenGrammar>();

  /** @param source GBNF. @throws FormatError, UnsupportedError */
  constructor(readonly source: string) {
    this.compiled = compileGbnf(source);
  }

  /** Whether it has this text. */
  accepts(text: string): boolean {
    const matcher = new Matcher(this.compiled);
    let state: MatcherState | null = matcher.start;
    for (const byte of new TextEncoder().encode(text)) {
      state = matcher.next(state, byte);
      if (!state) return false;
    }
    return state.accepts;
  }

  /** The grammar over a tokenizer's tokens. @throws UnsupportedError where the tokens' bytes are not known */
  over(tokenizer: TokenBytes): TokenGrammar {
    let bound = this.bound.get(tokenizer);
    if (!bound) {
      bound = new TokenGrammar(new Matcher(this.compiled), trieOf(tokenizer), tokenizer);
      this.bound.set(tokenizer, bound);
    }
    return bound;
  }
}

export class TokenGrammar {
  private readonly masks = new Map<MatcherState, Mask>();
  private readonly stack: MatcherState[];
  private walks = 0;

  constructor(
    private readonly matcher: Matcher,
    private readonly trie: TokenTrie,
    private readonly tokenizer: TokenBytes,
  ) {
    this.stack = new Array(trie.maxDepth + 1);
  }

  get start(): MatcherState {
    return this.matcher.start;
  }

  /** The state after a token; null where the grammar does not allow it. */
  next(state: MatcherState, id: number): MatcherState | null {
    const bytes = this.tokenizer.bytesOf?.(id);
    if (!bytes || bytes.length === 0) return null;
    let at: MatcherState | null = state;
    for (let i = 0; i < bytes.length && at; i++) at = this.matcher.next(at, bytes[i]);
    return at;
  }

  /**
   * Sets the logits of tokens that may not come to -Infinity.
   *
   * Of `left` tokens that may still be written, this one included, enough are kept to end the text: where a token would
   * leave more bytes to write than tokens, it may not come either (a byte takes one token at most where every byte is a
   * token, as in byte-level vocabularies). Where no token is so good the limit is passed over: the text will be cut short.
   *
   * @param ends tokens that end the text: allowed where the grammar's text may end
   * @returns how many tokens are allowed
   */
  mask(logits: Float32Array, state: MatcherState, ends: ReadonlySet<number>, left = Number.POSITIVE_INFINITY): number {
    let mask = this.masks.get(state);
    if (!mask) {
      mask = this.walk(state, Number.POSITIVE_INFINITY);
      if ((this.masks.size + 1) * mask.bits.byteLength > maxMaskBytes) this.masks.clear();
      this.masks.set(state, mask);
    }
    if (mask.mostLeft > left - 1) {
      const ending = this.walk(state, left - 1);
      if (ending.count > 0 || state.accepts) mask = ending;
    }
    const { bits } = mask;
    const kept = state.accepts ? [...ends].map((id) => [id, logits[id]] as const) : [];
    for (let id = 0; id < logits.length; id++)
      if (((bits[id >>> 5] ?? 0) & (1 << (id & 31))) === 0) logits[id] = Number.NEGATIVE_INFINITY;
    for (const id of ends) logits[id] = Number.NEGATIVE_INFINITY;
    for (const [id, logit] of kept) logits[id] = logit;
    return mask.count + kept.length;
  }

  /** The tokens after which at most `mostLeft` bytes are left to be written. */
  private walk(state: MatcherState, limit: number): Mask {
    const { byte, depth, end, first, tokens, vocabSize } = this.trie;
    const { stack, matcher } = this;
    const before = matcher.work;
    this.walks++;
    const bits = new Uint32Array((vocabSize + 31) >>> 5);
    let mostLeft = 0;
    let count = 0;
    stack[0] = state;
    for (let node = 1; node < byte.length; ) {
      const d = depth[node];
      const next = matcher.next(stack[d - 1], byte[node]);
      if (matcher.work - before > maxWorkOfMask || matcher.work > firstWork + meanWork * this.walks)
        throw new DataError(
          "grammar: finding the tokens that may come next takes too much work; write the grammar with fewer alternatives that begin alike",
        );
      if (!next) {
        node = end[node];
        continue;
      }
      stack[d] = next;
      if (next.least <= limit)
        for (let i = first[node]; i < first[node + 1]; i++) {
          bits[tokens[i] >>> 5] |= 1 << (tokens[i] & 31);
          count++;
          if (next.least > mostLeft) mostLeft = next.least;
        }
      node++;
    }
    return { bits, mostLeft, count };
  }
}
