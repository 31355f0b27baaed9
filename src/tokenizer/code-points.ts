/**
 * BPE over characters (Unicode code points) rather than bytes: LLaMA-2's SentencePiece tokenizer, and, with no merges
 * at all, character-level tokenizers. A character without a token is spelled in byte tokens "<0xE2>", or refused. How such a
 * tokenizer is told, and what its tokens' bytes are; code-point-encoder.ts encodes.
 *
 * Equal to the Rust library on the same file (general/general.test.ts, code-points.test.ts). Called by load.ts and train-characters.ts.
 */
import { type BpePlan, BpeTokenizer, mergesOf } from "./bpe-tokenizer.ts";
import { CharacterPairs, pairTables } from "./character-pairs.ts";
import type { CodePointTables } from "./code-point-encoder.ts";
import { byteOfToken, textOfBytes } from "./general/decoders.ts";
import { mergeTables } from "./merge-table.ts";
import type { DecodeOptions, TokenizerRoles } from "./tokenizer.ts";
import { isObject, mergeSides, type TokenizerJson, textAround } from "./tokenizer-json.ts";

/** SentencePiece's mark for a space. */
export const SPACE_MARK = "\u2581";

/** The name of a byte's token. */
export const byteTokenName = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

const allBytes = Array.from({ length: 256 }, (_, byte) => byte);

export class CodePointTokenizer extends BpeTokenizer {
  readonly engine = "code-points";
  private readonly marked: boolean;

  /** @param plan  from planCodePoints */
  constructor(json: TokenizerJson, roles: TokenizerRoles, plan: CodePointPlan) {
    const marked = plan.spaces !== "kept";
    const utf8 = new TextEncoder();
    const section = tablesOf(json, plan, roles.name);
    super(json, roles, plan, {
      section,
      cutsAtSpaces: cutsAtSpaces(section),
      bytesOf(token) {
        const byte = byteOfToken(token);
        if (byte >= 0) return Uint8Array.of(byte);
        return utf8.encode(marked ? token.replaceAll(SPACE_MARK, " ") : token);
      },
    });
    this.marked = marked;
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const text = this.textOf(ids, options);
    return this.marked && text.startsWith(" ") ? text.slice(1) : text;
  }

  private textOf(ids: ArrayLike<number>, options: DecodeOptions): string {
    try {
      return strictUtf8.decode(this.decodeBytes(ids, options));
    } catch {
      // Some run of byte tokens is no text: U+FFFD for each of its bytes, as the library has it.
      let text = "";
      let run: number[] = [];
      for (let i = 0; i < ids.length; i++) {
        const byte = byteOfToken(this.tokens[ids[i]] ?? "");
        if (byte >= 0) run.push(byte);
        else {
          text += textOfBytes(run) + strictUtf8.decode(this.decodeBytes([ids[i]], options));
          run = [];
        }
      }
      return text + textOfBytes(run);
    }
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function tablesOf(json: TokenizerJson, plan: CodePointPlan, where: string): CodePointTables {
  const { ids, spaces, bytesForUnknown, unknownId, fuseUnknown } = plan;
  const marked = spaces !== "kept";
  const added = new Set(json.added_tokens.map(({ content }) => content));
  const idOfUnit = new Int32Array(65536).fill(-1);
  const idOfAstral = new Map<number, number>();
  ids.forEach((id, token) => {
    const codePoint = token.codePointAt(0);
    if (codePoint === undefined || token.length !== (codePoint > 0xffff ? 2 : 1) || added.has(token)) return;
    if (codePoint > 0xffff) idOfAstral.set(codePoint, id);
    else idOfUnit[codePoint] = id;
  });
  const mark = SPACE_MARK.charCodeAt(0);
  if (marked) idOfUnit[0x20] = idOfUnit[mark];
  const symbol = (codePoint: number) => (marked && codePoint === mark ? 0x20 : codePoint);
  const { left, right, merged } = mergesOf(json, ids, where);
  const ends = endsOf(ids);
  return {
    kind: "code-points",
    spaces,
    idOfUnit,
    idOfAstral,
    idOfByte: bytesForUnknown ? Int32Array.from(allBytes, (byte) => ids.get(byteTokenName(byte))!) : null,
    unknownId,
    fuseUnknown,
    merges: mergeTables(left, right, merged),
    pairs: pairTables(
      left.length,
      (i) => symbol(ends.last[left[i]]),
      (i) => symbol(ends.first[right[i]]),
    ),
  };
}

/** The first and the last code point of each token. */
function endsOf(ids: ReadonlyMap<string, number>): { first: Int32Array; last: Int32Array } {
  let count = 0;
  ids.forEach((id) => {
    count = Math.max(count, id + 1);
  });
  const [first, last] = [new Int32Array(count), new Int32Array(count)];
  ids.forEach((id, token) => {
    if (token === "") return;
    first[id] = token.codePointAt(0)!;
    const end = token.codePointAt(Math.max(0, token.length - 2))!;
    last[id] = end > 0xffff ? end : token.charCodeAt(token.length - 1);
  });
  return { first, last };
}

/** Whether a text may be cut between any letter of ASCII and a space behind it. */
function cutsAtSpaces({ pairs, idOfByte, unknownId, fuseUnknown }: CodePointTables): boolean {
  if (fuseUnknown && unknownId !== null && idOfByte === null) return false;
  const joined = new CharacterPairs(pairs);
  return ![..."abcdefghijklmnopqrstuvwxyz"].some(
    (letter) => joined.has(letter.charCodeAt(0), 0x20) || joined.has(letter.charCodeAt(0) - 0x20, 0x20),
  );
}

export interface CodePointPlan extends BpePlan {
  spaces: CodePointTables["spaces"];
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
  if (spaces !== "kept" && json.added_tokens.some((t) => t.normalized)) return "an added token is normalized";
  // Byte tokens and the unknown token stand for characters that this engine merges nothing with.
  const apart = (side: string) => byteOfToken(side) >= 0 || side === model.unk_token;
  if ((model.merges ?? []).some((merge) => mergeSides(merge, "merge").some(apart)))
    return "it merges byte tokens or the unknown token";
  const around = textAround(json);
  if (typeof around === "string") return `the post-processor ${around}`;
  const fuseUnknown = model.fuse_unk === true;
  return { ids, spaces, bytesForUnknown, unknownId, fuseUnknown, ...around };
}
