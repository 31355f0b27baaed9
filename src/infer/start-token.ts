/**
 * The token before a text: asked of a model's own training, its tokenizer or its user, in one place for all that reads text.
 * Called by open-engine.ts, cli/ and report/; never for prompts that are given as ids.
 */
import { UnsupportedError, UsageError } from "../platform/errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { textAround } from "../tokenizer/tokenizer-json.ts";

/** A token by its name or id; null: none; undefined: what the model wants. */
export type StartTokenChoice = string | number | null | undefined;

type Facts = Pick<Tokenizer, "name" | "encode" | "endOfText" | "idOf" | "tokenOf" | "toJson" | "vocabSize">;

/**
 * For a model trained here: end-of-text, which stood before every document in its training. For one from elsewhere: what its
 * tokenizer's post-processor puts before a text, as transformers and llama.cpp do; nothing where it puts nothing.
 *
 * @param step steps of training here; null for a model from elsewhere
 * @throws UsageError for a token that the vocabulary has not; UnsupportedError where the tokenizer puts several
 */
export function startTokenOf(step: number | null, tokenizer: Facts, wanted?: StartTokenChoice): number | null {
  if (wanted === null) return null;
  if (wanted !== undefined) return named(tokenizer, wanted);
  if (step !== null) return tokenizer.endOfText;
  const { prefix } = aroundText(tokenizer);
  if (prefix.length > 1)
    throw new UnsupportedError(
      `tokenizer ${tokenizer.name}: puts ${prefix.length} tokens before a text (${prefix.map((id) => tokenizer.tokenOf(id)).join(" ")}); only one is supported: name it with --start-token, or leave them out with --no-start-token`,
    );
  return prefix[0] ?? null;
}

/** The tokens that the tokenizer's post-processor puts before and behind a text. */
export function aroundText(tokenizer: Facts): { prefix: number[]; suffix: number[] } {
  const known = textAround(tokenizer.toJson());
  if (known && typeof known !== "string") return known;
  // A post-processor of another kind: seen from what it does to a text that has a token.
  for (let id = 0; id < Math.min(tokenizer.vocabSize, 1000); id++) {
    const text = tokenizer.tokenOf(id);
    if (!text || !/^[a-z]$/.test(text)) continue;
    const plain = tokenizer.encode(text);
    const whole = tokenizer.encode(text, { addSpecialTokens: true });
    for (let at = 0; at + plain.length <= whole.length; at++)
      if (plain.every((one, i) => whole[at + i] === one))
        return { prefix: [...whole.slice(0, at)], suffix: [...whole.slice(at + plain.length)] };
  }
  return { prefix: [], suffix: [] };
}

function named(tokenizer: Facts, wanted: string | number): number {
  const id =
    typeof wanted === "number" ? wanted : (tokenizer.idOf(wanted) ?? (/^\d+$/.test(wanted) ? Number(wanted) : -1));
  if (!(Number.isSafeInteger(id) && id >= 0 && id < tokenizer.vocabSize))
    throw new UsageError(
      `--start-token ${wanted}: is neither a token of the vocabulary nor an id below ${tokenizer.vocabSize}`,
    );
  return id;
}

/** A prompt given as ids, with the start token before it unless it begins with it: for chat templates, which may have none. */
export const withStartToken = (ids: ArrayLike<number>, startToken: number | null): number[] =>
  startToken === null || ids[0] === startToken ? Array.from(ids) : [startToken, ...Array.from(ids)];
