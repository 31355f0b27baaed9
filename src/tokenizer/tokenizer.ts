/**
 * What a tokenizer is to the rest of the project. Three engines implement it: byte-level.ts (GPT-2, LLaMA-3, and what
 * train-bpe.ts makes), code-points.ts (LLaMA-2's SentencePiece, and characters), library.ts (any other tokenizer.json).
 */
import { DataError } from "../platform/errors.ts";
import { sha256Of } from "../platform/hash.ts";
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

export interface Vocabulary {
  /** Every token, from vocabularyOf. */
  ids: ReadonlyMap<string, number>;
}

/** What the engines share: names and numbers of tokens, the hash. */
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
  private knownHash: string | undefined;

  constructor(json: TokenizerJson, roles: TokenizerRoles, { ids }: Vocabulary) {
    this.json = json;
    this.name = roles.name;
    this.bos = roles.bos;
    this.eos = roles.eos;
    this.endOfText = roles.endOfText;
    const tokens: (string | undefined)[] = [];
    ids.forEach((id, token) => {
      tokens[id] = token;
    });
    this.ids = ids;
    this.tokens = tokens;
    this.vocabSize = tokens.length;
    this.added = new Map(json.added_tokens.map((token) => [token.content, token]));
    this.specialTokens = new Map(json.added_tokens.filter((t) => t.special).map((t) => [t.content, t.id]));
  }

  get hash(): string {
    this.knownHash ??= sha256Of(canonicalJson(this.json));
    return this.knownHash;
  }

  abstract encode(text: string, options?: EncodeOptions): Int32Array;

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
  const vocab = json.model.vocab ?? {};
  const ids = new Map<string, number>();
  if (Array.isArray(vocab)) for (const [id, entry] of vocab.entries()) ids.set(String((entry as unknown[])[0]), id);
  else for (const token of Object.keys(vocab)) ids.set(token, vocab[token]);
  for (const token of json.added_tokens) ids.set(token.content, token.id);
  return ids;
}
