/**
 * Tokens that end a text or an answer: what the tokenizer says, what generation_config.json lists (LLaMA-3: three), and
 * special tokens of well-known names, as llama.cpp finds them. Called by open-engine.ts and whatever opens other files.
 */
import { endNames, withoutTextEnds } from "../exchange/index.ts";
import { FormatError } from "../platform/errors.ts";
import { show, showText } from "../platform/show.ts";
import { exists, joinPath, readWhole } from "../platform/files.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

/**
 * @param from the model's folder, with a generation_config.json or none; the tokens that a file names; null: neither
 * @throws FormatError for a generation_config.json that is no JSON or lists tokens that there are not
 */
export function endTokensOf(
  tokenizer: Pick<Tokenizer, "eos" | "endOfText" | "specialTokens" | "vocabSize">,
  from: string | readonly number[] | null,
): number[] {
  const ids = new Set<number>();
  for (const id of [tokenizer.endOfText, tokenizer.eos]) if (id !== null) ids.add(id);
  const named = [...endNames, "<|end_of_turn|>"].flatMap((name) => tokenizer.specialTokens.get(name) ?? []);
  for (const id of withoutTextEnds(named, (name) => tokenizer.specialTokens.get(name))) ids.add(id);
  const more = typeof from === "string" ? listed(joinPath(from, "generation_config.json"), tokenizer.vocabSize) : from;
  for (const id of more ?? []) ids.add(id);
  return [...ids].sort((a, b) => a - b);
}

function listed(path: string, vocabSize: number): number[] {
  if (!exists(path)) return [];
  let config: { eos_token_id?: unknown } | null;
  try {
    config = JSON.parse(new TextDecoder().decode(readWhole(path, 2 ** 24)));
  } catch (cause) {
    if (cause instanceof SyntaxError)
      throw new FormatError(`${path}: is not JSON (${showText(cause.message, 120)})`, { cause });
    throw cause;
  }
  const value = config?.eos_token_id;
  const ids = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
  for (const id of ids)
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize))
      throw new FormatError(`${path}: eos_token_id has ${show(id)}; expected tokens of the vocabulary of ${vocabSize}`);
  return ids;
}
