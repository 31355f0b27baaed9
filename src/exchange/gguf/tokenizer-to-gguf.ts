/**
 * A tokenizer as GGUF metadata, so that llama.cpp gives the same tokens. llama.cpp knows byte-level BPE by the name of its
 * pre-tokenizer, and SentencePiece by scores; a tokenizer that would come out otherwise is refused with its reason.
 */
import { bool, type GgufValue, text, texts, u32 } from "../../formats/gguf/index.ts";
import { UnsupportedError } from "../../platform/errors.ts";
import { planByteLevel } from "../../tokenizer/byte-level.ts";
import { byteTokenName, type CodePointPlan, planCodePoints, SPACE_MARK } from "../../tokenizer/code-points.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { kinds } from "../../tokenizer/sentencepiece.ts";
import { splitMerges } from "../../tokenizer/split-merges.ts";
import { vocabularyOf } from "../../tokenizer/tokenizer.ts";
import { mergeSides, type TokenizerJson } from "../../tokenizer/tokenizer-json.ts";

export interface TokenizerKeysOptions {
  /** V of the model; ids past the tokenizer's are written as unused. */
  vocabSize: number;
  /** The token before a text; null for none. */
  startToken: number | null;
  /** Jinja, as in tokenizer_config.json. */
  chatTemplate?: string;
}

/**
 * @returns keys in the order of the file, and what a user should know
 * @throws UnsupportedError for a tokenizer that llama.cpp would run otherwise
 */
export function tokenizerToGguf(
  tokenizer: Tokenizer,
  options: TokenizerKeysOptions,
): { entries: [string, GgufValue][]; notes: string[] } {
  const { startToken, chatTemplate } = options;
  const json = tokenizer.toJson();
  const ids = vocabularyOf(json);
  const byteLevel = planByteLevel(json, ids);
  const notes: string[] = [];
  let entries: [string, GgufValue][];
  if (typeof byteLevel !== "string") {
    const pre = preTokenizerName(byteLevel.pattern === "gpt2", json.model.ignore_merges === true, tokenizer.name);
    const merges = (json.model.merges ?? []).map((merge) => mergeSides(merge, tokenizer.name).join(" "));
    const { tokens, types } = tokensOf(tokenizer, options.vocabSize, (token) => token);
    entries = [
      ["model", text("gpt2")],
      ["pre", text(pre)],
      ["tokens", texts(tokens)],
      ["token_type", types],
      ["merges", texts(merges)],
    ];
  } else {
    const plan = planCodePoints(json, ids);
    if (typeof plan === "string")
      throw new UnsupportedError(
        `tokenizer ${tokenizer.name}: GGUF has no name for its kind: as byte-level BPE, ${byteLevel}; as SentencePiece, ${plan}`,
      );
    entries = sentencePieceKeys(tokenizer, json, plan, options.vocabSize, notes);
  }
  const end = tokenizer.eos ?? tokenizer.endOfText;
  if (end === null)
    throw new UnsupportedError(
      `tokenizer ${tokenizer.name}: has no end-of-text token; llama.cpp would take another (11 or 2) for it`,
    );
  if (startToken !== null) entries.push(["bos_token_id", u32(startToken)]);
  entries.push(["eos_token_id", u32(end)]);
  entries.push(["add_bos_token", bool(startToken !== null)], ["add_eos_token", bool(false)]);
  const named = entries.map(([key, value]): [string, GgufValue] => [`tokenizer.ggml.${key}`, value]);
  if (chatTemplate !== undefined) named.push(["tokenizer.chat_template", text(chatTemplate)]);
  return { entries: named, notes };
}

/** llama.cpp's name for how the text is cut. */
function preTokenizerName(gpt2: boolean, ignoreMerges: boolean, name: string): string {
  if (!gpt2) return ignoreMerges ? "llama-bpe" : "dbrx"; // dbrx cuts as LLaMA-3 does, and heeds the merges
  if (ignoreMerges)
    throw new UnsupportedError(
      `tokenizer ${name}: cuts text as GPT-2 does but takes whole words before merges (ignore_merges); llama.cpp has no name for that`,
    );
  return "gpt-2";
}

/** Each id's text and type; ids without a token are unused. */
function tokensOf(
  tokenizer: Tokenizer,
  vocabSize: number,
  spelled: (token: string) => string,
): { tokens: string[]; types: GgufValue } {
  const json = tokenizer.toJson();
  const added = new Map(json.added_tokens.map((token) => [token.id, token.special]));
  const taken = new Set<string>();
  const types = new Int32Array(vocabSize).fill(kinds.normal);
  const bytes = new Set(Array.from({ length: 256 }, (_, byte) => byteTokenName(byte)));
  const spellsBytes = json.model.byte_fallback === true;
  const tokens = Array.from({ length: vocabSize }, (_, id) => {
    const token = id < tokenizer.vocabSize ? tokenizer.tokenOf(id) : undefined;
    const special = added.get(id);
    if (token === undefined) types[id] = kinds.unused;
    else if (special !== undefined) types[id] = special ? kinds.control : kinds.userDefined;
    else if (spellsBytes && bytes.has(token)) types[id] = kinds.byte;
    if (token !== undefined && token === json.model.unk_token) types[id] = kinds.unknown;
    const written = token === undefined ? `[PAD${id}]` : special === undefined ? spelled(token) : token;
    if (taken.has(written) || written === "")
      throw new UnsupportedError(
        `tokenizer ${tokenizer.name}: token ${id} would be written as ${JSON.stringify(written)}, which is ${written === "" ? "nothing" : "another's name"}; llama.cpp stops at that`,
      );
    taken.add(written);
    return written;
  });
  return { tokens, types: { type: "array", of: "i32", values: types } };
}

function sentencePieceKeys(
  tokenizer: Tokenizer,
  json: TokenizerJson,
  plan: CodePointPlan,
  vocabSize: number,
  notes: string[],
): [string, GgufValue][] {
  // Spaces are marks in llama.cpp's SentencePiece, also where the tokenizer itself keeps them.
  const spelled = (token: string) => (plan.spaces === "kept" ? token.replaceAll(" ", SPACE_MARK) : token);
  const order = mergedTokens(tokenizer, json, plan);
  const scores = new Float32Array(vocabSize);
  for (const [rank, token] of order.entries()) scores[plan.ids.get(token)!] = -1 - rank;
  const { tokens, types } = tokensOf(tokenizer, vocabSize, spelled);
  if (plan.spaces === "squeezed")
    notes.push(
      "llama.cpp does not make several spaces one, as this tokenizer does: texts with such get other tokens there",
    );
  if (!plan.bytesForUnknown)
    throw new UnsupportedError(
      `tokenizer ${tokenizer.name}: has no tokens for bytes; llama.cpp ends at a character that is not in the vocabulary (train one with bytes for unknown characters, or byte-level BPE)`,
    );
  const entries: [string, GgufValue][] = [
    ["model", text("llama")],
    ["pre", text("default")],
    ["tokens", texts(tokens)],
    ["scores", { type: "array", of: "f32", values: scores }],
    ["token_type", types],
  ];
  if (plan.unknownId !== null) entries.push(["unknown_token_id", u32(plan.unknownId)]);
  entries.push(["add_space_prefix", bool(plan.spaces !== "kept")]);
  if (plan.spaces === "squeezed") entries.push(["remove_extra_whitespaces", bool(true)]);
  return entries;
}

/**
 * The tokens that merges make, the first to be made first. SentencePiece joins any two tokens that make a third; so the
 * merges must be all ways to cut each token in two.
 *
 * @throws UnsupportedError where they are not
 */
function mergedTokens(tokenizer: Tokenizer, json: TokenizerJson, { ids }: CodePointPlan): string[] {
  const merges = (json.model.merges ?? []).map((merge) => mergeSides(merge, tokenizer.name));
  const made = new Set(merges.map(([left, right]) => left + right));
  const present = new Set(merges.map(([left, right]) => `${left} ${right}`));
  const added = new Set(json.added_tokens.map((token) => token.content));
  const bytes = json.model.byte_fallback === true;
  const joined = [...ids.keys()].filter((token) => !added.has(token) && !(bytes && /^<0x[0-9A-F]{2}>$/.test(token)));
  const missing = splitMerges(joined, ids).find((merge) => !present.has(merge));
  if (missing !== undefined)
    throw new UnsupportedError(
      `tokenizer ${tokenizer.name}: does not join ${JSON.stringify(missing)} though the two make a token; llama.cpp's SentencePiece would`,
    );
  return [...made];
}
