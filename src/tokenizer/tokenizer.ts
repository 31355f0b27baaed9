/**
 * What a tokenizer is to the rest of the project. Three engines implement it: byte-level.ts (GPT-2, LLaMA-3, and what
 * train-bpe.ts makes), code-points.ts (LLaMA-2's SentencePiece, and characters), library.ts (any other tokenizer.json).
 */
import { DataError } from "../platform/errors.ts";
import { sha256Of } from "../platform/files.ts";
import type { AddedToken, TokenizerJson } from "./tokenizer-json.ts";
import { canonicalJson } from "./tokenizer-json.ts";

export interface EncodeOptions {
  /** Put what the file's post-processor puts around a text (LLaMA: begin of text). Default false. */
  addSpecialTokens?: boolean;
  /**
   * Take "<|endoftext|>" and the like, where written in the text, as the token of that name (default), as Hugging Face
   * does; false takes them as ordinary text, which is what text from strangers needs.
   */
  parseSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default false. */
  skipSpecialTokens?: boolean;
}

export type TokenizerEngine = "byte-level" | "code-points" | "library";

export interface Tokenizer {
  /** For people: "bpe-2048", a file's name. Not part of the hash. */
  readonly name: string;
  readonly engine: TokenizerEngine;
  /** V: ids are 0 to V - 1. */
  readonly vocabSize: number;
  /** Tokens that stand for no text, by name. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** The token between documents; null where the tokenizer has none. */
  readonly endOfText: number | null;
  /** The token before a text, and the one after it. */
  readonly bos: number | null;
  readonly eos: number | null;
  /** SHA-256 of the canonical tokenizer.json: names the content, keys caches. 64 hexadecimal digits. */
  readonly hash: string;
  /**
   * The text's tokens. A lone surrogate (no character, and nothing that UTF-8 can hold) is taken as U+FFFD.
   *
   * @throws DataError when the text holds a character that the vocabulary has not and cannot spell in bytes
   */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /**
   * The tokens' text; bytes that are not UTF-8 (a character cut in two) come out as U+FFFD.
   *
   * @throws DataError for an id outside the vocabulary
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The token's text in the file ("Ġthe"); undefined outside the vocabulary. */
  tokenOf(id: number): string | undefined;
  idOf(token: string): number | undefined;
  /**
   * The bytes that the token adds to a text amid which it stands: what decoding it behind other tokens appends. null for a
   * special token, an id outside the vocabulary, or where the tokenizer's decoder is of a kind whose tokens have none.
   */
  bytesOf(id: number): Uint8Array | null;
  /** The file's content. Not to be changed. */
  toJson(): TokenizerJson;
}

/** What is not in tokenizer.json itself but beside it. */
export interface TokenizerRoles {
  name: string;
  bos: number | null;
  eos: number | null;
  endOfText: number | null;
}

/** What every engine's plan holds. */
export interface Vocabulary {
  /** Every token, from vocabularyOf. */
  ids: ReadonlyMap<string, number>;
  /** What addSpecialTokens puts around a text. */
  prefix: number[];
  suffix: number[];
}

/** Ids as they come; grows. */
export class IdBuffer {
  ids = new Int32Array(1024);
  length = 0;

  reserve(more: number): void {
    if (this.length + more <= this.ids.length) return;
    const larger = new Int32Array(Math.max(this.length + more, this.ids.length * 2));
    larger.set(this.ids.subarray(0, this.length));
    this.ids = larger;
  }

  push(id: number): void {
    if (this.length === this.ids.length) this.reserve(1);
    this.ids[this.length++] = id;
  }
}

/** What the engines share: names and numbers of tokens, special tokens in the text, the hash. */
export abstract class TokenizerBase implements Tokenizer {
  abstract readonly engine: TokenizerEngine;
  readonly name: string;
  readonly vocabSize: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly endOfText: number | null;
  readonly bos: number | null;
  readonly eos: number | null;
  protected readonly tokens: readonly (string | undefined)[];
  protected readonly ids: ReadonlyMap<string, number>;
  protected readonly added: ReadonlyMap<string, AddedToken>;
  private readonly json: TokenizerJson;
  private readonly addedPattern: RegExp | null;
  private readonly prefix: readonly number[];
  private readonly suffix: readonly number[];
  private knownHash: string | undefined;

  constructor(json: TokenizerJson, roles: TokenizerRoles, vocabulary: Vocabulary) {
    this.json = json;
    this.name = roles.name;
    this.bos = roles.bos;
    this.eos = roles.eos;
    this.endOfText = roles.endOfText;
    this.prefix = vocabulary.prefix;
    this.suffix = vocabulary.suffix;
    const { ids } = vocabulary;
    const tokens: (string | undefined)[] = [];
    for (const [token, id] of ids) tokens[id] = token;
    this.ids = ids;
    this.tokens = tokens;
    this.vocabSize = tokens.length;
    this.added = new Map(json.added_tokens.map((token) => [token.content, token]));
    this.specialTokens = new Map(json.added_tokens.filter((t) => t.special).map((t) => [t.content, t.id]));
    // The longest first, so that of two that start at one place the longer is taken.
    const names = [...this.added.keys()].filter((name) => name !== "").sort((a, b) => b.length - a.length);
    const escaped = names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    this.addedPattern = names.length > 0 ? new RegExp(escaped.join("|"), "g") : null;
  }

  get hash(): string {
    this.knownHash ??= sha256Of(canonicalJson(this.json));
    return this.knownHash;
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    const out = new IdBuffer();
    this.encodeInto(text, out, options);
    return out.ids.slice(0, out.length);
  }

  /** Appends the text's tokens to `out`. */
  encodeInto(
    text: string,
    out: IdBuffer,
    { addSpecialTokens = false, parseSpecialTokens = true }: EncodeOptions,
  ): void {
    if (addSpecialTokens) for (const id of this.prefix) out.push(id);
    let start = 0;
    if (parseSpecialTokens && this.addedPattern) {
      const pattern = this.addedPattern;
      pattern.lastIndex = 0;
      for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
        if (match.index > start) this.encodeSection(text, start, match.index, out);
        out.push(this.added.get(match[0])!.id);
        start = match.index + match[0].length;
      }
    }
    if (start < text.length) this.encodeSection(text, start, text.length, out);
    if (addSpecialTokens) for (const id of this.suffix) out.push(id);
  }

  /** Appends the tokens of text[start, end), which holds no added token and is not empty. */
  protected abstract encodeSection(text: string, start: number, end: number, out: IdBuffer): void;

  abstract decode(ids: ArrayLike<number>, options?: DecodeOptions): string;

  tokenOf(id: number): string | undefined {
    return this.tokens[id];
  }

  idOf(token: string): number | undefined {
    return this.ids.get(token);
  }

  bytesOf(id: number): Uint8Array | null {
    const token = this.tokens[id];
    return token === undefined || this.specialTokens.get(token) === id ? null : this.plainBytesOf(id);
  }

  /** The bytes of a token of the vocabulary that is not special; null where they are not known. */
  protected abstract plainBytesOf(id: number): Uint8Array | null;

  toJson(): TokenizerJson {
    return this.json;
  }

  protected unknownId(id: number, position: number): DataError {
    return new DataError(
      `tokenizer ${this.name}: cannot decode id ${id} at position ${position}; expected 0 to ${this.vocabSize - 1}`,
    );
  }
}

/** Every token and its id, added tokens included. */
export function vocabularyOf(json: TokenizerJson): Map<string, number> {
  const vocab = json.model.vocab;
  const ids = new Map<string, number>(
    Array.isArray(vocab)
      ? vocab.map((entry, id) => [String((entry as unknown[])[0]), id])
      : Object.entries(vocab ?? {}),
  );
  for (const token of json.added_tokens) ids.set(token.content, token.id);
  return ids;
}
