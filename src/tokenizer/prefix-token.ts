/**
 * A tokenizer whose post-processor puts one given token before a text: how a tokenizer.json carries the start token to other
 * programs. Called by checkpoint/ where folders are read and exported.
 */
import { createTokenizer } from "./load.ts";
import { templateAround } from "./sentencepiece.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type Component, isObject, textAround } from "./tokenizer-json.ts";

/**
 * @param start the token before a text; null: none
 * @returns the same tokenizer where it does so already; what it puts behind a text stays
 */
export function withPrefixToken(tokenizer: Tokenizer, start: number | null): Tokenizer {
  const json = tokenizer.toJson();
  const said = textAround(json);
  const around = typeof said === "string" ? null : said;
  const wanted = start === null ? [] : [start];
  const named = (id: number | null) => (id === null ? null : (tokenizer.tokenOf(id) ?? null));
  const fits = around !== null && around.prefix.join() === wanted.join();
  if (fits && (start === null || tokenizer.bos === start)) return tokenizer;
  const processors = [...plainParts(json.post_processor), ...template(tokenizer, wanted, around?.suffix ?? [])];
  const post_processor = fits
    ? json.post_processor
    : processors.length > 1
      ? { type: "Sequence", processors }
      : (processors[0] ?? null);
  return createTokenizer(
    { ...json, post_processor },
    {
      name: tokenizer.name,
      bos: named(start ?? tokenizer.bos),
      eos: named(tokenizer.eos),
      endOfText: named(tokenizer.endOfText),
    },
  );
}

/** The parts of a post-processor that put no token anywhere. */
function plainParts(processor: Component | null): Component[] {
  if (processor === null) return [];
  if (processor.type === "ByteLevel") return [processor];
  const parts = processor.type === "Sequence" && Array.isArray(processor.processors) ? processor.processors : [];
  return parts.filter(isObject).flatMap((part) => plainParts(part as Component));
}

function template(tokenizer: Tokenizer, prefix: readonly number[], suffix: readonly number[]): Component[] {
  if (prefix.length + suffix.length === 0) return [];
  const named = (ids: readonly number[]) => ids.map((id) => ({ name: tokenizer.tokenOf(id) as string, id }));
  return [templateAround(named(prefix), named(suffix))];
}
