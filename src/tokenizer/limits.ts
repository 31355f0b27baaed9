/**
 * Limits on what a tokenizer.json may ask for: it comes from outside, and holds regular expressions and rules that rewrite
 * texts. What grows a text is bounded before it runs (growth), what takes time while it runs (`limitTime`): a pattern that
 * backtracks without end is ended amid its text. Our own fast engines run no pattern of the file's, so they need neither.
 * Called by load.ts.
 */
import { withinTime } from "../platform/deadline.ts";
import { FormatError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type Component, isObject, type TokenizerJson } from "./tokenizer-json.ts";

/** Each added token is looked for in each text. Published tokenizers have up to some 7,000. */
const maxAddedTokens = 100_000;
/** What a normalizer or decoder puts in at one place, in characters. */
const maxContent = 1000;
/** How many times longer all replacements together may make a text. */
const maxGrowth = 64;
/** Of one text: so many seconds, and one more for each 20,000 characters (the slowest known tokenizer does 500,000). */
const baseMs = 5000;
const charactersPerMs = 20;

/** @throws FormatError for a tokenizer whose rules could fill the memory, naming the rule */
export function checkGrowth(json: TokenizerJson, where: string): void {
  if (json.added_tokens.length > maxAddedTokens)
    throw new FormatError(
      `${where}: has ${json.added_tokens.length} added tokens; at most ${maxAddedTokens} are supported`,
    );
  for (const key of ["normalizer", "pre_tokenizer", "decoder"] as const) {
    const growth = growthOf(json[key], (part, content) => {
      throw new FormatError(
        `${where}: the ${key}'s ${part} puts in ${show(content)}, ${content.length} characters; at most ${maxContent} are supported`,
      );
    });
    if (growth > maxGrowth)
      throw new FormatError(
        `${where}: the ${key}'s replacements can make a text ${growth < 1e6 ? Math.ceil(growth) : growth.toExponential(0)} times as long; at most ${maxGrowth} times are supported`,
      );
  }
}

/** An upper bound of how many times longer a part makes a text. */
function growthOf(component: Component | null, refuse: (part: string, content: string) => never): number {
  if (component === null) return 1;
  const members = component.normalizers ?? component.pretokenizers ?? component.decoders;
  if (component.type === "Sequence" && Array.isArray(members))
    return members.reduce((growth: number, member) => growth * growthOf(member as Component, refuse), 1);
  const { type, content, prepend, pattern } = component;
  if (type === "Prepend" && typeof prepend === "string" && prepend.length > maxContent) refuse(type, prepend);
  if (type !== "Replace" || typeof content !== "string") return 1;
  if (content.length > maxContent) refuse(type, content);
  const replaced = isObject(pattern) && typeof pattern.String === "string" ? pattern.String : null;
  // A regular expression may match one character; the empty text is found before each one and at the end.
  return replaced === null || replaced === ""
    ? Math.max(1, content.length + 1)
    : Math.max(1, content.length / replaced.length);
}

/**
 * The same tokenizer, whose texts each have a time limit by their length.
 *
 * @throws UnsupportedError, then, from `encode` and `decode`
 */
export function limitTime<T extends Pick<Tokenizer, "encode" | "decode" | "name">>(tokenizer: T, limitMs = baseMs): T {
  const words = () =>
    `tokenizer ${tokenizer.name}: a text takes too long; does one of its patterns backtrack, as (a+)+ does?`;
  const limited = <A extends unknown[], R>(call: (...args: A) => R, sizeOf: (...args: A) => number) => {
    return (...args: A): R =>
      withinTime(limitMs + Math.ceil(sizeOf(...args) / charactersPerMs), words, () => call.apply(tokenizer, args));
  };
  tokenizer.encode = limited(tokenizer.encode, (text) => text.length);
  tokenizer.decode = limited(tokenizer.decode, (ids) => 8 * ids.length);
  return tokenizer;
}
