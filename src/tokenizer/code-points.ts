/**
 * BPE over characters (Unicode code points) rather than bytes: LLaMA-2's SentencePiece tokenizer, and, with no merges
 * at all, character-level tokenizers. A character without a token is spelled in byte tokens "<0xE2>", or refused.
 *
 * Equal to @huggingface/tokenizers on the same file (code-points.test.ts). Called by load.ts and train-characters.ts.
 */
import { DataError } from "../platform/errors.ts";
import { mergeTableOf } from "./byte-level.ts";
import type { MergeTable } from "./merge-table.ts";
import { PretokenCache } from "./pretoken-cache.ts";
import { type DecodeOptions, type IdBuffer, TokenizerBase, type TokenizerRoles, type Vocabulary } from "./tokenizer.ts";
import { isObject, type TokenizerJson, textAround } from "./tokenizer-json.ts";

/** SentencePiece's mark for a space. */
export const SPACE_MARK = "\u2581";
const SPACE_MARK_UNIT = 0x2581;

/** The name of a byte's token. */
export const byteTokenName = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

const UNKNOWN = -1;

export class CodePointTokenizer extends TokenizerBase {
  readonly engine = "code-points";
  private readonly plan: CodePointPlan;
  private readonly merges: MergeTable;
  /** The token of each code point of the basic plane, or UNKNOWN. */
  private readonly idOfUnit = new Int32Array(65536).fill(UNKNOWN);
  private readonly idOfAstral = new Map<number, number>();
  private readonly idOfByte: Int32Array | null;
  private readonly bytesOfId: readonly (Uint8Array | undefined)[];
  private readonly cache = new PretokenCache();
  private scratch = new Int32Array(256);
  private readonly compute = (text: string, start: number, end: number, out: IdBuffer) =>
    this.encodeWhole(text, start, end, out);

  /** @param plan  from planCodePoints */
  constructor(json: TokenizerJson, roles: TokenizerRoles, plan: CodePointPlan) {
    super(json, roles, plan);
    this.plan = plan;
    this.merges = mergeTableOf(json, this.ids, roles.name);
    const utf8 = new TextEncoder();
    const byteTokens = new Map<string, number>();
    this.idOfByte = plan.bytesForUnknown ? new Int32Array(256) : null;
    if (this.idOfByte) {
      for (let byte = 0; byte < 256; byte++) {
        this.idOfByte[byte] = this.ids.get(byteTokenName(byte))!;
        byteTokens.set(byteTokenName(byte), byte);
      }
    }
    for (const [token, id] of this.ids) {
      const codePoint = token.codePointAt(0);
      if (codePoint === undefined || token.length !== (codePoint > 0xffff ? 2 : 1) || this.added.has(token)) continue;
      if (codePoint > 0xffff) this.idOfAstral.set(codePoint, id);
      else this.idOfUnit[codePoint] = id;
    }
    this.bytesOfId = this.tokens.map((token) => {
      if (token === undefined) return undefined;
      const byte = byteTokens.get(token);
      if (byte !== undefined) return Uint8Array.of(byte);
      const isText = plan.spaces !== "kept" && !this.added.has(token);
      return utf8.encode(isText ? token.replaceAll(SPACE_MARK, " ") : token);
    });
  }

  protected encodeSection(text: string, start: number, end: number, out: IdBuffer): void {
    const { plan, cache, compute } = this;
    if (plan.spaces !== "kept") {
      text = text.slice(start, end);
      if (plan.spaces === "squeezed") text = text.replace(/^ +|[ \u2581]+$/g, "").replace(/ {2,}/g, " ");
      if (text === "") return;
      text = SPACE_MARK + text.replaceAll(" ", SPACE_MARK);
      start = 0;
      end = text.length;
    }
    if (!plan.cutAtSpaces) {
      this.encodeWhole(text, start, end, out);
      return;
    }
    while (start < end) {
      // A word with the spaces before it; no token goes on past its end.
      let stop = start;
      while (stop < end && text.charCodeAt(stop) === SPACE_MARK_UNIT) stop++;
      while (stop < end && text.charCodeAt(stop) !== SPACE_MARK_UNIT) stop++;
      cache.encode(text, start, stop, out, compute);
      start = stop;
    }
  }

  private encodeWhole(text: string, start: number, end: number, out: IdBuffer): void {
    if (end - start > this.scratch.length) this.scratch = new Int32Array(end - start);
    const { scratch, idOfUnit, idOfByte, plan } = this;
    let count = 0;
    for (let i = start; i < end; i++) {
      let codePoint = text.charCodeAt(i);
      let id: number;
      if ((codePoint & 0xf800) === 0xd800) {
        codePoint = text.codePointAt(i)!;
        if (codePoint > 0xffff && i + 1 < end) {
          i++;
          id = this.idOfAstral.get(codePoint) ?? UNKNOWN;
        } else {
          codePoint = 0xfffd; // half of a pair
          id = idOfUnit[codePoint];
        }
      } else {
        id = idOfUnit[codePoint];
      }
      if (id === UNKNOWN && idOfByte === null && plan.unknownId === null)
        throw this.unknownCharacter(text, i, codePoint);
      scratch[count++] = id === UNKNOWN ? -1 - codePoint : id;
    }
    count = this.merges.size > 0 ? this.merges.apply(scratch, count) : count;
    out.reserve(count * 4);
    for (let i = 0; i < count; i++) {
      const id = scratch[i];
      if (id >= 0) out.ids[out.length++] = id;
      else if (idOfByte) for (const byte of utf8Of(-1 - id)) out.ids[out.length++] = idOfByte[byte];
      else if (i === 0 || scratch[i - 1] >= 0 || !plan.fuseUnknown) out.ids[out.length++] = plan.unknownId!;
    }
  }

  private unknownCharacter(text: string, at: number, codePoint: number): DataError {
    const hex = codePoint.toString(16).toUpperCase().padStart(4, "0");
    const around = text.slice(Math.max(0, at - 10), at + 10);
    return new DataError(
      `tokenizer ${this.name}: ${JSON.stringify(String.fromCodePoint(codePoint))} (U+${hex}) at character ${at} (in ${JSON.stringify(around)}) is not in the vocabulary of ${this.vocabSize}; train with text that holds it, or with bytes for unknown characters`,
    );
  }

  protected plainBytesOf(id: number): Uint8Array | null {
    return this.bytesOfId[id] ?? null;
  }

  decode(ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (let i = 0; i < ids.length; i++) {
      const piece = this.bytesOfId[ids[i]];
      if (piece === undefined) throw this.unknownId(ids[i], i);
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
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    return this.plan.spaces !== "kept" && text.startsWith(" ") ? text.slice(1) : text;
  }
}

const utf8 = new TextEncoder();
const utf8Of = (codePoint: number): Uint8Array => utf8.encode(String.fromCodePoint(codePoint));

export interface CodePointPlan extends Vocabulary {
  /**
   * "kept" as they are; or "marked": written as SPACE_MARK, with one more put before the text; or "squeezed": marked,
   * after several were made one, and those at both ends removed (SentencePiece's remove_extra_whitespaces).
   */
  spaces: "kept" | "marked" | "squeezed";
  /** No token holds a space after something else, so words can be encoded one by one. */
  cutAtSpaces: boolean;
  /** A character without a token is spelled in bytes; or else is unknownId (one for several, if fused); or refused. */
  bytesForUnknown: boolean;
  unknownId: number | null;
  fuseUnknown: boolean;
}

const sameJson = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/** LLaMA-2's normalizer and decoder, as Hugging Face writes them; a character tokenizer has the second decoder. */
export const markNormalizer = {
  type: "Sequence",
  normalizers: [
    { type: "Prepend", prepend: SPACE_MARK },
    { type: "Replace", pattern: { String: " " }, content: SPACE_MARK },
  ],
};
/** The same for a SentencePiece model that removes extra spaces (and, at the end, its own mark). */
export const squeezeNormalizer = {
  type: "Sequence",
  normalizers: [
    { type: "Replace", pattern: { Regex: `\\A +|[ ${SPACE_MARK}]+\\z` }, content: "" },
    { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
    ...markNormalizer.normalizers,
  ],
};
export const markDecoder = {
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: SPACE_MARK }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ],
};
export const bytesDecoder = { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] };

/** How this engine runs the file, or why it cannot (a reason for people; the library runs it then). */
export function planCodePoints(json: TokenizerJson, ids: ReadonlyMap<string, number>): CodePointPlan | string {
  const { model } = json;
  if (model.type !== "BPE" || !isObject(model.vocab)) return "the model is not BPE";
  if (json.pre_tokenizer !== null) return "it has a pre-tokenizer";
  if (model.dropout || model.continuing_subword_prefix || model.end_of_word_suffix) return "it marks or drops subwords";
  if (model.ignore_merges) return "it ignores merges";
  let spaces: CodePointPlan["spaces"] = "kept";
  if (sameJson(json.normalizer, markNormalizer)) spaces = "marked";
  else if (sameJson(json.normalizer, squeezeNormalizer)) spaces = "squeezed";
  else if (json.normalizer !== null) return "it has a normalizer other than SentencePiece's";
  if (!sameJson(json.decoder, spaces === "kept" ? bytesDecoder : markDecoder)) return "the decoder is of another kind";
  const bytesForUnknown = model.byte_fallback === true;
  if (bytesForUnknown)
    for (let byte = 0; byte < 256; byte++) if (!ids.has(byteTokenName(byte))) return "some bytes have no token";
  const unknownId = typeof model.unk_token === "string" ? (ids.get(model.unk_token) ?? null) : null;
  if (typeof model.unk_token === "string" && unknownId === null) return "the unknown token is not in the vocabulary";
  if (json.added_tokens.some((t) => t.lstrip || t.rstrip || t.single_word)) return "an added token strips or is a word";
  if (spaces !== "kept" && json.added_tokens.some((t) => t.normalized)) return "an added token is normalized";
  const around = textAround(json);
  if (!around) return "the post-processor is no simple template";
  const added = new Set(json.added_tokens.map((t) => t.content));
  const crosses = new RegExp(`[^${SPACE_MARK}]${SPACE_MARK}`);
  const cutAtSpaces =
    spaces !== "kept" &&
    ids.has(SPACE_MARK) &&
    ![...ids.keys()].some((token) => !added.has(token) && crosses.test(token));
  const fuseUnknown = model.fuse_unk === true;
  return { ids, spaces, cutAtSpaces, bytesForUnknown, unknownId, fuseUnknown, ...around };
}
