/** GGUF metadata as a tokenizer: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"), as llama.cpp's converters write them. */
import type { GgufMetadata } from "../../formats/gguf/index.ts";
import { FormatError, UnsupportedError, UsageError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";
import { bytesDecoder, SPACE_MARK } from "../../tokenizer/code-points.ts";
import { createTokenizer, type Tokenizer, type TokenizerJson } from "../../tokenizer/index.ts";
import { addedTokens, kinds, type Pieces, piecesToJson, templateWithPrefix } from "../../tokenizer/sentencepiece.ts";
import { MAX_VOCABULARY } from "../../tokenizer/tokenizer-json.ts";
import { endTokensOfGguf } from "./end-tokens.ts";
import { type PreTokenizer, preTokenizerOf, preTokenizers } from "./pre-tokenizers.ts";
import { checkTokenizerKeys } from "./tokenizer-keys.ts";

/** What a file's metadata says of its tokens. */
export interface GgufTokenizer {
  tokenizer: Tokenizer;
  /** Tokens that end generation, in ascending order. */
  endTokens: number[];
  /** How the tokenizer was found, where the file does not say. */
  notes: string[];
  /** Keys without effect here, each with its reason. */
  ignored: string[];
}

export interface GgufTokenizerOptions {
  /** A name of tokenizer.ggml.pre in place of the file's. */
  pre?: string;
  /** Finds a tokenizer beside the file; null where there is none. */
  beside?: () => Tokenizer | null;
}

/**
 * @param where names the file, for messages
 * @returns null where the file has none ("no_vocab", or no key at all)
 * @throws UnsupportedError for a kind that we do not run; FormatError for keys at odds; UsageError for a `pre` that the file
 *         has no use for
 */
export function tokenizerFromGguf(
  metadata: GgufMetadata,
  where: string,
  options: GgufTokenizerOptions = {},
): GgufTokenizer | null {
  const model = metadata.findText("tokenizer.ggml.model");
  if (options.pre !== undefined && model !== "gpt2")
    throw new UsageError(
      `${where}: --pre names how byte-level BPE cuts text, and this file's tokenizer is ${show(model ?? "none")}; leave it out`,
    );
  if (model === undefined || model === "no_vocab" || model === "none") return null;
  const tokens = tokensOf(metadata, where);
  const types =
    listOf(metadata, "token_type", tokens.length, where) ?? new Int32Array(tokens.length).fill(kinds.normal);
  const keyed = (key: string): number | null => {
    const value = metadata.findCount(`tokenizer.ggml.${key}`, 0);
    if (value !== undefined && value >= tokens.length)
      throw new FormatError(`${where}: tokenizer.ggml.${key} is ${value}, but there are ${tokens.length} tokens`);
    return value ?? null;
  };
  const id = (key: string, fallback: number | null): number | null =>
    keyed(key) ?? (fallback !== null && fallback < tokens.length ? fallback : null);
  const sentencePiece = model === "llama";
  const ignored = checkTokenizerKeys(metadata, sentencePiece);
  // llama.cpp's defaults: SentencePiece's own ids; GPT-2's are no use in another vocabulary.
  const bos = id("bos_token_id", sentencePiece ? 1 : null);
  const eos = id("eos_token_id", sentencePiece ? 2 : null);
  const ids = new Map(Array.from(tokens, (token, i): [string, number] => [token, i]));
  const ends = endTokensOfGguf(
    (token) => ids.get(token),
    (key) => (key === "eos_token_id" ? eos : keyed(key)),
  );
  // As llama.cpp: a token of such a name is a control token, whatever the converter made of it.
  const kindOf = Int32Array.from(types);
  for (const end of ends.named) kindOf[end] = kinds.control;
  // Padding that converters put behind the last token is no token.
  let count = tokens.length;
  while (count > 0 && kindOf[count - 1] === kinds.unused) count--;
  const named = (token: number | null) => (token === null ? null : tokens[token]);
  const roles = { name: where, bos: named(bos), eos: named(eos), endOfText: named(eos) };
  const scores = sentencePiece ? listOf(metadata, "scores", tokens.length, where) : null;
  const pieces: Pieces = { tokens: tokens.slice(0, count), scores: scores ?? [], kinds: kindOf };
  const saidBos = metadata.findBool("tokenizer.ggml.add_bos_token");
  const rest = { endTokens: ends.ids, ignored };
  if (sentencePiece) {
    if (!scores) throw new FormatError(`${where}: has no tokenizer.ggml.scores; expected one for each token`);
    const json = sentencePieceJson(metadata, pieces, id("unknown_token_id", 0), (saidBos ?? true) ? bos : null, where);
    return { tokenizer: createTokenizer(json, roles), notes: [], ...rest };
  }
  if (model !== "gpt2")
    throw new UnsupportedError(`${where}: tokenizer.ggml.model is ${show(model)}; "gpt2" and "llama" can be run`);
  const cut = preTokenizerFor(metadata, where, ids, options);
  if (cut.beside) {
    checkBeside(cut.beside, pieces, where);
    return { tokenizer: cut.beside, notes: cut.notes, ...rest };
  }
  const prefix = (saidBos ?? cut.pre.addBos) ? bos : null;
  const json = byteLevelJson(metadata, pieces, cut.pre, prefix, where);
  return { tokenizer: createTokenizer(json, roles), notes: cut.notes, ...rest };
}

/** @throws FormatError */
function tokensOf(metadata: GgufMetadata, where: string): readonly string[] {
  const tokens = metadata.texts("tokenizer.ggml.tokens");
  if (tokens.length === 0 || tokens.length > MAX_VOCABULARY)
    throw new FormatError(
      `${where}: tokenizer.ggml.tokens has ${tokens.length} tokens; expected 1 to ${MAX_VOCABULARY}`,
    );
  // As llama.cpp names them: a token without text stands for none.
  return tokens.includes("") ? tokens.map((token, id) => (token === "" ? `[EMPTY_${id}]` : token)) : tokens;
}

type Cut = { notes: string[] } & ({ pre: PreTokenizer; beside?: undefined } | { beside: Tokenizer });

/**
 * How text is cut: as asked for, as the file says, as a tokenizer beside the file does, or, where nothing says, as the
 * vocabulary lets expect.
 */
function preTokenizerFor(
  metadata: GgufMetadata,
  where: string,
  ids: ReadonlyMap<string, number>,
  { pre: asked, beside }: GgufTokenizerOptions,
): Cut {
  if (asked !== undefined) return { pre: preTokenizerOf(asked, "--pre"), notes: [] };
  const said = metadata.findText("tokenizer.ggml.pre");
  if (said !== undefined && preTokenizers.has(said)) return { pre: preTokenizerOf(said, where), notes: [] };
  const found = beside?.();
  const missing = said === undefined ? "has no tokenizer.ggml.pre" : `tokenizer.ggml.pre ${show(said)} cannot be run`;
  if (found) return { beside: found, notes: [`${missing}; the tokenizer beside the file is used`] };
  if (said !== undefined) return { pre: preTokenizerOf(said, `${where}: tokenizer.ggml.pre`), notes: [] };
  // What bitnet.cpp's converter leaves out. The published BitNet b1.58 2B4T and all that is made of LLaMA-3 was trained with
  // LLaMA-3's cuts; llama.cpp, which cannot know, takes "default" for any vocabulary.
  const name = ids.has("<|begin_of_text|>") ? "llama-bpe" : "default";
  const why = name === "llama-bpe" ? `LLaMA-3's, as the vocabulary is ("llama-bpe")` : `llama.cpp's "default"`;
  return {
    pre: preTokenizerOf(name, where),
    notes: [
      `${missing}: text is cut by ${why}; name another with --pre, or put the model's tokenizer.json beside the file`,
    ],
  };
}

/** @throws FormatError where a tokenizer beside the file has other tokens than the file */
function checkBeside(tokenizer: Tokenizer, { tokens, kinds: kindOf }: Pieces, where: string): void {
  for (let id = 0; id < tokens.length; id++)
    if (kindOf[id] !== kinds.unused && tokenizer.tokenOf(id) !== tokens[id])
      throw new FormatError(
        `${where}: the tokenizer beside the file has ${show(tokenizer.tokenOf(id) ?? null)} as token ${id}, the file ${show(tokens[id])}; they do not belong together: move the tokenizer away, or say how text is cut with --pre`,
      );
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
  cut: PreTokenizer,
  prefix: number | null,
  where: string,
): TokenizerJson {
  const vocab = new Map<string, number>();
  for (let id = 0; id < pieces.tokens.length; id++) {
    const piece = pieces.tokens[id];
    if (pieces.kinds[id] === kinds.unused) continue;
    if (vocab.has(piece))
      throw new FormatError(`${where}: tokens ${vocab.get(piece)} and ${id} are both ${show(piece)}`);
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
        ...cut.patterns.map((pattern) => ({
          type: "Split",
          pattern: { Regex: pattern },
          behavior: "Isolated",
          invert: false,
        })),
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
