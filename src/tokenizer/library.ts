/**
 * Any other tokenizer.json, run by @huggingface/tokenizers: WordPiece, Unigram, unusual patterns. Slow (about half a
 * megabyte a second), so load.ts comes here last.
 */
import { type Encoding, Tokenizer as LibraryModel } from "@huggingface/tokenizers";
import { DataError, FormatError, UnsupportedError } from "../platform/errors.ts";
import { tokenToBytes } from "./byte-alphabet.ts";
import {
  type DecodeOptions,
  type EncodeOptions,
  TokenizerBase,
  type TokenizerRoles,
  vocabularyOf,
} from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";

export class LibraryTokenizer extends TokenizerBase {
  readonly engine = "library";
  private readonly model: LibraryModel;
  private plainModel: LibraryModel | undefined;

  constructor(json: TokenizerJson, roles: TokenizerRoles) {
    super(json, roles, { ids: vocabularyOf(json) });
    this.model = createLibraryModel(json, roles.name);
  }

  encode(text: string, { addSpecialTokens = false, parseSpecialTokens = true }: EncodeOptions = {}): Int32Array {
    const whole = text.replace(/\p{Surrogate}/gu, "\ufffd");
    if (!parseSpecialTokens && addSpecialTokens)
      throw new UnsupportedError(
        `tokenizer ${this.name} cannot add special tokens and take those in the text as text at once; ask for one of the two`,
      );
    const model = parseSpecialTokens ? this.model : this.plain();
    const { ids }: Encoding = this.run("encode", () => model.encode(whole, { add_special_tokens: addSpecialTokens }));
    for (const id of ids)
      if (!Number.isInteger(id))
        throw new DataError(`tokenizer ${this.name}: the text holds a character that the vocabulary has no token for`);
    return Int32Array.from(ids);
  }

  decode(ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    for (let i = 0; i < ids.length; i++) if (this.tokens[ids[i]] === undefined) throw this.unknownId(ids[i], i);
    if (ids.length === 0) return "";
    return this.run("decode", () =>
      this.model.decode(Array.from(ids), {
        skip_special_tokens: skipSpecialTokens,
        clean_up_tokenization_spaces: false,
      }),
    );
  }

  /** The library finds out late what it cannot do with a file, and says so in words about itself. */
  private run<T>(what: string, call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw new FormatError(
        `tokenizer ${this.name}: @huggingface/tokenizers cannot ${what} with it: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  /** Known where tokens are spelled in GPT-2's byte alphabet; added tokens are spelled as they are. */
  protected plainBytesOf(id: number): Uint8Array | null {
    const token = this.tokens[id]!;
    if (this.toJson().decoder?.type !== "ByteLevel") return null;
    return this.added.has(token) ? new TextEncoder().encode(token) : tokenToBytes(token);
  }

  /** The same without special tokens, to take their names in a text as text. */
  private plain(): LibraryModel {
    this.plainModel ??= createLibraryModel({ ...this.toJson(), added_tokens: [] }, this.name);
    return this.plainModel;
  }
}

/** @throws FormatError with the library's reason when it cannot run the file */
function createLibraryModel(json: TokenizerJson, where: string): LibraryModel {
  try {
    return new LibraryModel(json, { clean_up_tokenization_spaces: false });
  } catch (error) {
    throw new FormatError(`${where}: @huggingface/tokenizers cannot run this tokenizer: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
