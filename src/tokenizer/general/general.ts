/**
 * Any tokenizer.json: all normalizers, pre-tokenizers, models, post-processors and decoders that the Rust library
 * `tokenizers` knows, to the same ids and the same text (general.test.ts). Slower than byte-level.ts and code-points.ts, so
 * load.ts comes here for the files that those do not run. Not read, as transformers does not: truncation and padding.
 */
import { DataError, FormatError } from "../../platform/errors.ts";
import { tokenToBytes } from "../byte-alphabet.ts";
import { IdBuffer } from "../id-buffer.ts";
import {
  type DecodeOptions,
  type EncodeOptions,
  TokenizerBase,
  type TokenizerRoles,
  vocabularyOf,
} from "../tokenizer.ts";
import { type TokenizerJson, textAround } from "../tokenizer-json.ts";
import { type AddedSplitter, addedSplitter } from "./added-tokens.ts";
import { createDecoder, type Decoder } from "./decoders.ts";
import { type Model, UnknownText } from "./model.ts";
import { createModel } from "./models.ts";
import { createNormalizer, type Normalizer } from "./normalizers.ts";
import type { Piece } from "./piece.ts";
import { createPreTokenizer, type PreTokenizer } from "./pre-tokenizers.ts";

/** Room for ids that is kept from one text to the next. */
const KEPT_IDS = 1 << 20;

export class GeneralTokenizer extends TokenizerBase {
  readonly engine = "general";
  private readonly normalizer: Normalizer | null;
  private readonly preTokenizer: PreTokenizer | null;
  private readonly model: Model;
  private readonly decoder: Decoder;
  private readonly around: { prefix: number[]; suffix: number[] };
  /** Of added tokens those that are looked for in the text as it is, and in what the normalizer made of it. */
  private readonly asWritten: AddedSplitter | null;
  private readonly asNormalized: AddedSplitter | null;
  private out = new IdBuffer();

  /** @throws FormatError or UnsupportedError for a part that cannot be run, by its name */
  constructor(json: TokenizerJson, roles: TokenizerRoles) {
    super(json, roles, { ids: vocabularyOf(json) });
    const where = roles.name;
    this.normalizer = createNormalizer(json.normalizer, where);
    this.preTokenizer = createPreTokenizer(json.pre_tokenizer, where);
    this.model = createModel(json.model, where);
    this.decoder = createDecoder(json.decoder, where);
    const around = textAround(json);
    if (typeof around === "string") throw new FormatError(`${where}: the post-processor ${around}`);
    this.around = around;
    // The library puts special tokens behind the others.
    const tokens = [...json.added_tokens].sort((a, b) => Number(a.special) - Number(b.special));
    this.asWritten = addedSplitter(
      tokens.filter(({ normalized }) => !normalized).map((token) => ({ token, name: token.content })),
    );
    this.asNormalized = addedSplitter(
      tokens
        .filter(({ normalized }) => normalized)
        .map((token) => ({ token, name: this.normalized({ text: token.content, first: true, id: -1 }).text })),
    );
  }

  encode(text: string, { addSpecialTokens = false, parseSpecialTokens = true }: EncodeOptions = {}): Int32Array {
    const { out } = this;
    out.length = 0;
    if (addSpecialTokens) for (const id of this.around.prefix) out.push(id);
    for (const piece of this.pieces(text.replace(/\p{Surrogate}/gu, "\ufffd"), parseSpecialTokens)) {
      if (piece.id >= 0) out.push(piece.id);
      else this.encodePiece(piece.text, text);
    }
    if (addSpecialTokens) for (const id of this.around.suffix) out.push(id);
    const ids = out.ids.slice(0, out.length);
    if (out.ids.length > KEPT_IDS) this.out = new IdBuffer();
    return ids;
  }

  /** The pre-tokens of a text, added tokens among them. */
  private pieces(text: string, parseSpecial: boolean): Piece[] {
    const whole: Piece = { text, first: true, id: -1 };
    const written = this.asWritten && text !== "" ? this.asWritten(whole, parseSpecial) : text === "" ? [] : [whole];
    let pieces: Piece[] = [];
    for (const piece of written) {
      if (piece.id < 0) this.normalized(piece);
      if (piece.id >= 0 || (piece.text !== "" && !this.asNormalized)) pieces.push(piece);
      else if (piece.text !== "") for (const part of this.asNormalized!(piece, parseSpecial)) pieces.push(part);
    }
    if (this.preTokenizer) pieces = this.preTokenizer(pieces);
    return pieces;
  }

  private normalized(piece: Piece): Piece {
    this.normalizer?.(piece);
    return piece;
  }

  private encodePiece(piece: string, text: string): void {
    try {
      this.model(piece, this.out);
    } catch (error) {
      if (!(error instanceof UnknownText)) throw error;
      const [char] = error.text;
      const hex = char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
      const shown = JSON.stringify(error.text.slice(0, 40));
      throw new DataError(
        `tokenizer ${this.name}: ${shown} (U+${hex}), in a text of ${text.length} characters, is not in the vocabulary of ${this.vocabSize}, and the file names no token for what is unknown`,
      );
    }
  }

  /** Ids that are no tokens are passed over. */
  decode(ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const tokens: string[] = [];
    for (let i = 0; i < ids.length; i++) {
      const token = this.tokens[ids[i]];
      if (token !== undefined && !(skipSpecialTokens && this.specialTokens.has(token))) tokens.push(token);
    }
    return this.decoder(tokens).join("");
  }

  /** Known where tokens are spelled in GPT-2's byte alphabet, in which added tokens may be spelled too. */
  protected plainBytesOf(id: number): Uint8Array | null {
    if (this.toJson().decoder?.type !== "ByteLevel") return null;
    const token = this.tokens[id]!;
    return tokenToBytes(token) ?? new TextEncoder().encode(token);
  }
}
