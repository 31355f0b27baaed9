/**
 * SentencePiece's `tokenizer.model` (LLaMA-2): a protobuf with the pieces, their scores and kinds, and the trainer's and
 * normalizer's settings, turned into the tokenizer.json that Hugging Face makes of it.
 *
 * BPE models with the identity normalizer only; a unigram model or one with a character map is refused by name.
 * Source: google/sentencepiece, sentencepiece_model.proto.
 */
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import { byteTokenName, markDecoder, markNormalizer, squeezeNormalizer } from "./code-points.ts";
import { splitMerges } from "./split-merges.ts";
import { type AddedToken, MAX_VOCABULARY, specialToken, type TokenizerJson, vocabOf } from "./tokenizer-json.ts";

/** SentencePiece.Type in the proto. */
export const kinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

interface Field {
  number: number;
  /** A varint, or the bits of a fixed32; 0 otherwise. */
  value: number;
  /** The content of a length-delimited field; empty otherwise. */
  bytes: Uint8Array;
}

/** The fields of one protobuf message in order; errors name the byte of the file where the field begins. */
function* fieldsOf(bytes: Uint8Array, where: string): Generator<Field> {
  let at = 0;
  let begin = 0;
  const place = () => bytes.byteOffset + begin;
  const cutShort = () =>
    new FormatError(`${where}: the protobuf ends amid the field at byte ${place()}; is the file cut short?`);
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      if (at >= bytes.length) throw cutShort();
      const byte = bytes[at++];
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
      if (shift > 2 ** 56)
        throw new FormatError(
          `${where}: a protobuf number in the field at byte ${place()} is longer than ten bytes; is this a SentencePiece model?`,
        );
    }
  };
  const none = new Uint8Array(0);
  while (at < bytes.length) {
    begin = at;
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        yield { number, value: varint(), bytes: none };
        break;
      case 1:
        at += 8;
        if (at > bytes.length) throw cutShort();
        yield { number, value: 0, bytes: none };
        break;
      case 2: {
        const length = varint();
        if (length > bytes.length - at) throw cutShort();
        yield { number, value: 0, bytes: bytes.subarray(at, at + length) };
        at += length;
        break;
      }
      case 5: {
        if (at + 4 > bytes.length) throw cutShort();
        const value = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
        at += 4;
        yield { number, value, bytes: none };
        break;
      }
      default:
        throw new FormatError(
          `${where}: protobuf wire type ${tag % 8} of field ${number}, at byte ${place()}; is this a SentencePiece model?`,
        );
    }
  }
}

const floatOfBits = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0];

export interface SentencePieceModel {
  json: TokenizerJson;
  bos: number | null;
  eos: number | null;
}

/**
 * @throws FormatError for bytes that are no such file, UnsupportedError for a model of another kind than BPE
 */
export function sentencePieceToJson(content: Uint8Array, where: string): SentencePieceModel {
  // In a buffer of its own, so that a part's byteOffset is its place in the file.
  const bytes = content.byteOffset === 0 ? content : content.slice();
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const text = (b: Uint8Array) => {
    try {
      return utf8.decode(b);
    } catch {
      throw new FormatError(`${where}: a piece, at byte ${b.byteOffset}, is not UTF-8; is this a SentencePiece model?`);
    }
  };
  const pieces = { tokens: [] as string[], scores: [] as number[], kinds: [] as number[] };
  // The defaults are the proto's.
  const trainer = { modelType: 1, byteFallback: 0, suffix: 0, unk: 0, bos: 1, eos: 2 };
  const normalizer = { name: "", map: 0, dummyPrefix: 1, removeExtra: 1, escape: 1 };
  for (const field of fieldsOf(bytes, where)) {
    if (field.number === 1) {
      const entry = { piece: "", score: 0, kind: kinds.normal as number };
      for (const part of fieldsOf(field.bytes, where)) {
        if (part.number === 1) entry.piece = text(part.bytes);
        else if (part.number === 2) entry.score = floatOfBits(part.value);
        else if (part.number === 3) entry.kind = part.value;
      }
      pieces.tokens.push(entry.piece);
      pieces.scores.push(entry.score);
      pieces.kinds.push(entry.kind);
      if (pieces.tokens.length > MAX_VOCABULARY) throw new FormatError(`${where}: has over ${MAX_VOCABULARY} pieces`);
    } else if (field.number === 2) {
      for (const { number, value } of fieldsOf(field.bytes, where)) {
        // int32: -1 comes as 2^64 - 1, which float64 rounds to 2^64.
        const signed = value >= 2 ** 31 ? -1 : value;
        if (number === 3) trainer.modelType = value;
        else if (number === 24) trainer.suffix = value;
        else if (number === 35) trainer.byteFallback = value;
        else if (number === 40) trainer.unk = signed;
        else if (number === 41) trainer.bos = signed;
        else if (number === 42) trainer.eos = signed;
      }
    } else if (field.number === 3) {
      for (const { number, value, bytes: content } of fieldsOf(field.bytes, where)) {
        if (number === 1) normalizer.name = text(content);
        else if (number === 2) normalizer.map = content.length;
        else if (number === 3) normalizer.dummyPrefix = value;
        else if (number === 4) normalizer.removeExtra = value;
        else if (number === 5) normalizer.escape = value;
      }
    }
  }
  if (pieces.tokens.length === 0) throw new FormatError(`${where}: holds no pieces; expected a SentencePiece model`);
  const unsupported = (what: string) =>
    new UnsupportedError(
      `${where}: ${what} is not supported; convert it to a tokenizer.json with Hugging Face's tools`,
    );
  const typeName = ["", "unigram", "BPE", "word", "character"][trainer.modelType] ?? `type ${trainer.modelType}`;
  if (trainer.modelType !== 2) throw unsupported(`a SentencePiece model of ${typeName}, not BPE,`);
  if (normalizer.map > 0) throw unsupported(`the normalizer "${normalizer.name}" (a character map)`);
  if (normalizer.dummyPrefix !== 1 || normalizer.escape !== 1 || trainer.suffix !== 0)
    throw unsupported("a SentencePiece model without the space before a text");

  if (pieces.kinds.includes(kinds.userDefined)) throw unsupported("a user-defined piece");
  const has = (id: number) => id >= 0 && id < pieces.tokens.length;
  const bos = has(trainer.bos) ? trainer.bos : null;
  return {
    bos,
    eos: has(trainer.eos) ? trainer.eos : null,
    json: piecesToJson(pieces, {
      where,
      squeeze: normalizer.removeExtra !== 0,
      byteFallback: trainer.byteFallback !== 0,
      unk: has(trainer.unk) ? trainer.unk : null,
      prefix: bos,
    }),
  };
}

/** Pieces as SentencePiece files, and GGUF files after them, have them: columns, for an object each would be the larger part. */
export interface Pieces {
  tokens: readonly string[];
  scores: ArrayLike<number>;
  /** Of `kinds`; as many as there are tokens at least. */
  kinds: ArrayLike<number>;
}

/** Tokens that stand for no text, or are found in it as they are. */
export function addedTokens({ tokens, kinds: kindOf }: Pick<Pieces, "tokens" | "kinds">): AddedToken[] {
  const added: AddedToken[] = [];
  for (let id = 0; id < tokens.length; id++) {
    const kind = kindOf[id];
    if (kind === kinds.control || kind === kinds.unknown) added.push(specialToken(tokens[id], id));
    else if (kind === kinds.userDefined) added.push({ ...specialToken(tokens[id], id), special: false });
  }
  return added;
}

/**
 * The tokenizer.json of a SentencePiece BPE model that puts a space before each text.
 *
 * @param options squeeze: several spaces count as one; prefix: the id put before a text that is to have special tokens
 * @throws FormatError where two pieces are the same
 */
export function piecesToJson(
  pieces: Pieces,
  options: { where: string; squeeze: boolean; byteFallback: boolean; unk: number | null; prefix: number | null },
): TokenizerJson {
  const { where, squeeze, unk, prefix } = options;
  const { tokens, scores } = pieces;
  const ids = new Map<string, number>();
  /** Those that merges make, by rank. */
  const ranked: number[] = [];
  for (let id = 0; id < tokens.length; id++) {
    const before = ids.get(tokens[id]);
    if (before !== undefined)
      throw new FormatError(`${where}: pieces ${before} and ${id} are both ${show(tokens[id])}`);
    ids.set(tokens[id], id);
    if (pieces.kinds[id] === kinds.normal) ranked.push(id);
  }
  const byteFallback =
    options.byteFallback && Array.from({ length: 256 }, (_, b) => byteTokenName(b)).every((t) => ids.has(t));
  // The best score first; the sort is stable, so equal scores keep the order of ids.
  ranked.sort((a, b) => scores[b] - scores[a]);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(pieces),
    normalizer: squeeze ? squeezeNormalizer : markNormalizer,
    pre_tokenizer: null,
    post_processor: prefix === null ? null : templateWithPrefix(tokens[prefix], prefix),
    decoder: markDecoder,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unk === null ? null : tokens[unk],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: byteFallback,
      vocab: vocabOf(tokens),
      merges: splitMerges(
        ranked.map((id) => tokens[id]),
        ids,
      ),
    },
  };
}

/** A post-processor that puts one token before each text. */
export const templateWithPrefix = (name: string, id: number) => templateAround([{ name, id }], []);

/** A post-processor that puts tokens before and behind each text. */
export function templateAround(
  prefix: readonly { name: string; id: number }[],
  suffix: readonly { name: string; id: number }[],
) {
  const special = (tokens: readonly { name: string }[], type_id: number) =>
    tokens.map(({ name }) => ({ SpecialToken: { id: name, type_id } }));
  const around = (part: "A" | "B", type_id: number) => [
    ...special(prefix, type_id),
    { Sequence: { id: part, type_id } },
    ...special(suffix, type_id),
  ];
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(
      [...prefix, ...suffix].map(({ name, id }) => [name, { id: name, ids: [id], tokens: [name] }]),
    ),
  };
}
