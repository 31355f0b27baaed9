/** GGUF metadata as a tokenizer: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"), as llama.cpp's converters write them. */
import type { GgufMetadata } from "../../formats/gguf/index.ts";
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { bytesDecoder, SPACE_MARK } from "../../tokenizer/code-points.ts";
import { createTokenizer, type Tokenizer, type TokenizerJson } from "../../tokenizer/index.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN } from "../../tokenizer/pretokenize.ts";
import { addedTokens, kinds, type Pieces, piecesToJson, templateWithPrefix } from "../../tokenizer/sentencepiece.ts";
import { MAX_VOCABULARY } from "../../tokenizer/tokenizer-json.ts";

/** Names of pre-tokenizers that cut as GPT-2 or as LLaMA-3 do, and whether whole words come before merges. */
const preTokenizers: Record<string, { pattern: string; ignoreMerges: boolean }> = {
  "gpt-2": { pattern: GPT2_PATTERN, ignoreMerges: false },
  "llama-bpe": { pattern: LLAMA3_PATTERN, ignoreMerges: true },
  llama3: { pattern: LLAMA3_PATTERN, ignoreMerges: true },
  "llama-v3": { pattern: LLAMA3_PATTERN, ignoreMerges: true },
  dbrx: { pattern: LLAMA3_PATTERN, ignoreMerges: false },
  "smaug-bpe": { pattern: LLAMA3_PATTERN, ignoreMerges: false },
};

/**
 * @param where names the file, for messages
 * @returns null where the file has none ("no_vocab", or no key at all)
 * @throws UnsupportedError for a kind that we do not run; FormatError for keys at odds
 */
export function tokenizerFromGguf(metadata: GgufMetadata, where: string): Tokenizer | null {
  const model = metadata.findText("tokenizer.ggml.model");
  if (model === undefined || model === "no_vocab" || model === "none") return null;
  const tokens = metadata.texts("tokenizer.ggml.tokens");
  if (tokens.length === 0 || tokens.length > MAX_VOCABULARY)
    throw new FormatError(
      `${where}: tokenizer.ggml.tokens has ${tokens.length} tokens; expected 1 to ${MAX_VOCABULARY}`,
    );
  const types =
    listOf(metadata, "token_type", tokens.length, where) ?? new Int32Array(tokens.length).fill(kinds.normal);
  const id = (key: string, fallback: number | null): number | null => {
    const value = metadata.findCount(`tokenizer.ggml.${key}`, 0);
    if (value !== undefined && value >= tokens.length)
      throw new FormatError(`${where}: tokenizer.ggml.${key} is ${value}, but there are ${tokens.length} tokens`);
    return value ?? (fallback !== null && fallback < tokens.length ? fallback : null);
  };
  const sentencePiece = model === "llama";
  // llama.cpp's defaults: SentencePiece's own ids; GPT-2's are no use in another vocabulary.
  const bos = id("bos_token_id", sentencePiece ? 1 : null);
  const eos = id("eos_token_id", sentencePiece ? 2 : null);
  const pre = metadata.findText("tokenizer.ggml.pre");
  const addBos = metadata.findBool("tokenizer.ggml.add_bos_token") ?? (sentencePiece || pre === "llama-bpe");
  if (metadata.findBool("tokenizer.ggml.add_eos_token"))
    throw new UnsupportedError(
      `${where}: tokenizer.ggml.add_eos_token is true; a token after each text is not supported`,
    );
  const prefix = addBos ? bos : null;
  // Padding that converters put behind the last token is no token.
  let count = tokens.length;
  while (count > 0 && types[count - 1] === kinds.unused) count--;
  const scores = sentencePiece ? listOf(metadata, "scores", tokens.length, where) : null;
  const pieces: Pieces = { tokens: tokens.slice(0, count), scores: scores ?? [], kinds: types };
  let json: TokenizerJson;
  if (sentencePiece) {
    if (!scores) throw new FormatError(`${where}: has no tokenizer.ggml.scores; expected one for each token`);
    json = sentencePieceJson(metadata, pieces, id("unknown_token_id", 0), prefix, where);
  } else if (model === "gpt2") {
    json = byteLevelJson(metadata, pieces, pre, prefix, where);
  } else {
    throw new UnsupportedError(
      `${where}: tokenizer.ggml.model is ${JSON.stringify(model)}; "gpt2" and "llama" can be run`,
    );
  }
  const named = (token: number | null) => (token === null ? null : tokens[token]);
  return createTokenizer(json, { name: where, bos: named(bos), eos: named(eos), endOfText: named(eos) });
}

function listOf(metadata: GgufMetadata, key: string, length: number, where: string) {
  const list = metadata.findNumbers(`tokenizer.ggml.${key}`);
  if (list && list.length !== length)
    throw new FormatError(`${where}: tokenizer.ggml.${key} has ${list.length} values for ${length} tokens`);
  return list;
}

function sentencePieceJson(
  metadata: GgufMetadata,
  pieces: Pieces,
  unk: number | null,
  prefix: number | null,
  where: string,
): TokenizerJson {
  const squeeze = metadata.findBool("tokenizer.ggml.remove_extra_whitespaces") ?? false;
  const spacePrefix = metadata.findBool("tokenizer.ggml.add_space_prefix") ?? true;
  const unknown = unk !== null && pieces.kinds[unk] === kinds.unknown ? unk : null;
  const json = piecesToJson(pieces, { where, squeeze, byteFallback: true, unk: unknown, prefix });
  if (spacePrefix) return json;
  // Without a space in front only characters, one by one, can be run: what this project's own character tokenizers are.
  if (json.model.merges!.length > 0)
    throw new UnsupportedError(
      `${where}: SentencePiece without a space before the text (add_space_prefix false) is not supported`,
    );
  const vocab = Object.fromEntries(
    pieces.tokens.map((piece, id) => [
      pieces.kinds[id] === kinds.normal ? piece.replaceAll(SPACE_MARK, " ") : piece,
      id,
    ]),
  );
  return { ...json, normalizer: null, decoder: bytesDecoder, model: { ...json.model, fuse_unk: false, vocab } };
}

function byteLevelJson(
  metadata: GgufMetadata,
  pieces: Pieces,
  pre: string | undefined,
  prefix: number | null,
  where: string,
): TokenizerJson {
  const cut = preTokenizers[pre ?? ""];
  if (!cut)
    throw new UnsupportedError(
      `${where}: tokenizer.ggml.pre is ${JSON.stringify(pre ?? "absent")}; these can be run: ${Object.keys(preTokenizers).join(", ")}`,
    );
  const vocab = new Map<string, number>();
  for (let id = 0; id < pieces.tokens.length; id++) {
    const piece = pieces.tokens[id];
    if (pieces.kinds[id] === kinds.unused) continue;
    if (vocab.has(piece))
      throw new FormatError(`${where}: tokens ${vocab.get(piece)} and ${id} are both ${JSON.stringify(piece)}`);
    vocab.set(piece, id);
  }
  const bytes = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(pieces),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: cut.pattern }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor:
      prefix === null
        ? bytes
        : { type: "Sequence", processors: [bytes, templateWithPrefix(pieces.tokens[prefix], prefix)] },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: cut.ignoreMerges,
      vocab: Object.fromEntries(vocab),
      merges: [...metadata.texts("tokenizer.ggml.merges")],
    },
  };
}
