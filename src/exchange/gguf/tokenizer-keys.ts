/**
 * Every key of a GGUF file that changes its tokens or its prompts, beside those of the vocabulary itself: applied by
 * tokenizer-from-gguf.ts, refused by name, or told to `inspect`. Source of the list: llama.cpp, src/llama-arch.cpp.
 */
import type { GgufMetadata, GgufValue } from "../../formats/gguf/index.ts";
import { UnsupportedError } from "../../platform/errors.ts";
import { endTokenKeys } from "./end-tokens.ts";

/** Read by tokenizer-from-gguf.ts. */
const applied = new Set([
  ...["model", "pre", "tokens", "token_type", "scores", "merges", "bos_token_id", "unknown_token_id", "add_bos_token"],
  ...endTokenKeys,
]);

/** Name a token that nothing here puts into a text. */
const descriptive = new Set([
  ...["token_type_count", "padding_token_id", "seperator_token_id", "cls_token_id", "mask_token_id"],
  ...["fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"],
  ...["prefix_token_id", "suffix_token_id", "middle_token_id"],
]);

/** What each would do, where it is set. */
const refused: Record<string, string> = {
  add_eos_token: "a token behind each text",
  add_sep_token: "a separator behind each text",
  precompiled_charsmap: "a character map before tokens are made",
  "normalizer.lowercase": "making letters small",
  "normalizer.strip_accents": "taking accents away",
  suppress_tokens: "a list of tokens that are never drawn",
};

/** Of SentencePiece alone. */
const ofSentencePiece = new Set(["add_space_prefix", "remove_extra_whitespaces"]);

/** Every key under tokenizer.ggml. that this file has a rule for: for the table in the tests. */
export const knownTokenizerKeys: readonly string[] = [
  ...[...applied, ...descriptive, ...Object.keys(refused), ...ofSentencePiece],
];

const isSet = (value: GgufValue) => (value.type === "array" ? value.values.length > 0 : Number(value.value) !== 0);

/**
 * @returns what has no effect here, with its reason
 * @throws UnsupportedError for a setting that would change tokens or prompts
 */
export function checkTokenizerKeys(metadata: GgufMetadata, sentencePiece: boolean): string[] {
  const ignored: string[] = [];
  for (const key of metadata.keys) {
    if (!key.startsWith("tokenizer.") || key === "tokenizer.chat_template") continue;
    if (!key.startsWith("tokenizer.ggml.")) {
      ignored.push(
        key.startsWith("tokenizer.chat_template")
          ? `${key}: only tokenizer.chat_template is used; give another with --chat-template-file`
          : `${key}: tokens are made from tokenizer.ggml.*`,
      );
      continue;
    }
    const name = key.slice("tokenizer.ggml.".length);
    if (applied.has(name) || descriptive.has(name)) continue;
    const value = metadata.get(key)!;
    if (Object.hasOwn(refused, name)) {
      if (isSet(value))
        throw new UnsupportedError(`${metadata.where}: ${key} is set; ${refused[name]} is not supported`);
    } else if (ofSentencePiece.has(name)) {
      if (!sentencePiece && isSet(value)) ignored.push(`${key}: has no meaning for byte-level BPE`);
    } else ignored.push(`${key}: is not known`);
  }
  return ignored;
}
