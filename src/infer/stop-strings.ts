/**
 * Strings that end a text. Text that may be the beginning of one is held back until it is known not to be, so that no
 * part of a stop string is ever given out. Works on characters, behind text-stream.ts. Called by writer.ts.
 */
import { UsageError } from "../platform/errors.ts";

export interface StopStrings {
  /** The text that may be given out now, and the string that ended it, if one has: what stands before it was given. */
  push(text: string): { text: string; stopped: string | null };
  /** What is held back, for a text that ends for another reason. */
  finish(): string;
}

/** @throws UsageError for an empty string, which would end every text at once */
export function createStopStrings(strings: readonly string[]): StopStrings {
  for (const string of strings)
    if (typeof string !== "string" || string === "")
      throw new UsageError("generate: a stop string is empty; expected at least one character");
  let held = "";
  return {
    push(text) {
      held += text;
      let at = -1;
      let stopped: string | null = null;
      for (const string of strings) {
        const found = held.indexOf(string);
        if (found >= 0 && (at < 0 || found < at)) [at, stopped] = [found, string];
      }
      const end = stopped === null ? held.length - heldBack(held, strings) : at;
      const given = held.slice(0, end);
      held = stopped === null ? held.slice(end) : "";
      return { text: given, stopped };
    },
    finish() {
      const text = held;
      held = "";
      return text;
    },
  };
}

/** How many characters at the text's end begin a stop string. */
function heldBack(text: string, strings: readonly string[]): number {
  let most = 0;
  for (const string of strings)
    for (let n = Math.min(string.length - 1, text.length); n > most; n--)
      if (text.endsWith(string.slice(0, n))) {
        most = n;
        break;
      }
  return most;
}
