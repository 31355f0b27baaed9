/**
 * What the two tokenizers with merges share (byte-level.ts, code-points.ts): the encoder made of the file's tables, and
 * decoding by the bytes of each token.
 */
import { FormatError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import { Encoder, type EncoderTables } from "./encoder.ts";
import { IdBuffer } from "./id-buffer.ts";
import { MAX_MERGES } from "./merge-table.ts";
import { holdsCut, partEnd } from "./parts.ts";
import {
  type DecodeOptions,
  type EncodeOptions,
  TokenizerBase,
  type TokenizerRoles,
  type Vocabulary,
} from "./tokenizer.ts";
import { TokenBytes } from "./token-bytes.ts";
import { type AddedToken, mergeSides, type TokenizerJson } from "./tokenizer-json.ts";
import { SLACK_BEFORE, Utf8Buffer } from "./utf8-buffer.ts";

/** How a file is run. */
export interface BpePlan extends Vocabulary {
  /** What addSpecialTokens puts around a text. */
  prefix: number[];
  suffix: number[];
}

export interface BpeParts {
  section: EncoderTables["section"];
  /** A text may be cut before a space between two ASCII letters (parts.ts). */
  cutsAtSpaces: boolean;
  /** The bytes that a token stands for, an added one too. */
  bytesOf(token: string): Uint8Array;
}

/** UTF-16 units that are written as bytes at once, so that the memory for it does not grow with the text. */
const PART_UNITS = 1 << 18;
/** Room for ids that is kept from one text to the next. */
const KEPT_IDS = 1 << 20;

export abstract class BpeTokenizer extends TokenizerBase {
  /** What threads make an encoder of. */
  readonly tables: EncoderTables;
  /** Whether texts may be cut as parts.ts does. */
  readonly cuts: boolean;
  private readonly encoder: Encoder;
  private readonly bytesOfId: TokenBytes;
  private readonly text = new Utf8Buffer();
  private out = new IdBuffer();

  constructor(json: TokenizerJson, roles: TokenizerRoles, plan: BpePlan, parts: BpeParts) {
    super(json, roles, plan);
    const found = [...this.added.values()].filter(({ content }) => content !== "");
    const group = (normalized: boolean) =>
      found
        .filter((token) => token.normalized === normalized)
        .map(({ content: name, id, special, single_word: singleWord, lstrip, rstrip }) => ({
          name,
          id,
          special,
          singleWord,
          lstrip,
          rstrip,
        }));
    this.tables = {
      name: this.name,
      vocabSize: this.vocabSize,
      section: parts.section,
      added: [group(false), group(true)],
      prefix: plan.prefix,
      suffix: plan.suffix,
    };
    const reaches = (token: AddedToken) => token.single_word || token.lstrip || token.rstrip || holdsCut(token.content);
    this.cuts = parts.cutsAtSpaces && !found.some(reaches);
    this.encoder = new Encoder(this.tables);
    this.bytesOfId = new TokenBytes(this.vocabSize, (id) => {
      const token = this.tokens[id];
      if (token === undefined) return undefined;
      return parts.bytesOf(token);
    });
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    const { encoder, out } = this;
    out.length = 0;
    let start = 0;
    do {
      const end = this.cuts ? partEnd(text, start, PART_UNITS) : text.length;
      const bytesEnd = this.text.write(start === 0 && end === text.length ? text : text.slice(start, end));
      const part = { unitsBefore: start, isLast: end === text.length };
      encoder.encode(this.text, SLACK_BEFORE, bytesEnd, out, options, part);
      start = end;
    } while (start < text.length);
    if (out.ids.length > KEPT_IDS) this.out = new IdBuffer();
    return out.ids.slice(0, out.length);
  }

  protected plainBytesOf(id: number): Uint8Array | null {
    return this.bytesOfId.get(id) ?? null;
  }

  /** The bytes that the tokens stand for, which a token may begin or end amid a character. */
  decodeBytes(ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): Uint8Array {
    let length = 0;
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      const piece = this.bytesOfId.get(ids[i]);
      if (piece === undefined) continue;
      if (skipSpecialTokens && this.specialTokens.get(this.tokens[ids[i]]!) === ids[i]) continue;
      pieces.push(piece);
      length += piece.length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

export interface Merges {
  /** Ids joined by each merge, in order of rank, and the id that they become. */
  left: Int32Array;
  right: Int32Array;
  merged: Int32Array;
}

/** The file's merges. @throws FormatError for a merge of, or into, something that is no token */
export function mergesOf(json: TokenizerJson, ids: ReadonlyMap<string, number>, where: string): Merges {
  const merges = json.model.merges ?? [];
  if (merges.length > MAX_MERGES)
    throw new FormatError(`${where}: has ${merges.length} merges; at most ${MAX_MERGES} are expected`);
  const left = new Int32Array(merges.length);
  const right = new Int32Array(merges.length);
  const merged = new Int32Array(merges.length);
  const id = (token: string, rank: number) => {
    const found = ids.get(token);
    if (found === undefined)
      throw new FormatError(
        `${where}: merge ${rank} (${show(merges[rank])}) needs the token ${show(token)}, which the vocabulary lacks`,
      );
    return found;
  };
  for (let rank = 0; rank < merges.length; rank++) {
    const [l, r] = mergeSides(merges[rank], where);
    left[rank] = id(l, rank);
    right[rank] = id(r, rank);
    merged[rank] = id(l + r, rank);
  }
  return { left, right, merged };
}
