/**
 * Tokens to text as they come. A character whose bytes lie in several tokens is held back until it is whole, and text is
 * decoded behind the tokens before it, so that decoders which treat the start of a text apart (LLaMA-2 drops its first
 * space) give here what they give for the whole. Called by generate.ts.
 */
import type { Tokenizer } from "../tokenizer/index.ts";

export interface TextStream {
  /** The text that this token completes; "" while a character is not whole. */
  push(id: number): string;
  /** What is still held back, as decode gives it (U+FFFD for a character that never became whole). */
  finish(): string;
}

/** What an unfinished character decodes to: one U+FFFD, at the end. */
const replacement = "\uFFFD";
/** Tokens of the prompt that decoding looks back on. */
const contextTokens = 8;

/** Text without the cut character at its end: what stands before it will not change. */
const wholePart = (text: string): string => (text.endsWith(replacement) ? text.slice(0, -1) : text);

/** @param before tokens that stand before the text; their own text is not repeated */
export function createTextStream(tokenizer: Pick<Tokenizer, "decode">, before: ArrayLike<number> = []): TextStream {
  const decode = (ids: readonly number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });
  let context = Array.prototype.slice.call(before, -contextTokens) as number[];
  let contextLength = wholePart(decode(context)).length;
  /** Tokens since the last place where the text was whole, and how much of their text was given out. */
  let pending: number[] = [];
  let given = 0;
  const pendingText = () => decode([...context, ...pending]).slice(contextLength);
  return {
    push(id) {
      pending.push(id);
      const text = pendingText();
      const whole = wholePart(text);
      const piece = whole.slice(given);
      if (whole === text && text !== "") {
        context = pending.slice(-contextTokens);
        contextLength = decode(context).length;
        pending = [];
        given = 0;
      } else {
        given = Math.max(given, whole.length);
      }
      return piece;
    },
    finish() {
      const piece = pendingText().slice(given);
      given += piece.length;
      return piece;
    },
  };
}
