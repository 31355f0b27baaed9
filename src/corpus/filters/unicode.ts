/**
 * Unicode normalisation (UAX #15: NFC, NFKC, NFD, NFKD) and the removal of what no reader sees: control characters, the
 * byte-order mark inside a text, soft hyphens, zero-width spaces; line ends become \n. Joiners stay: emoji and several
 * scripts need them.
 */
import { defineFilter, type Stage } from "../pipeline.ts";

export interface UnicodeOptions {
  form?: "NFC" | "NFKC" | "NFD" | "NFKD" | "none";
  /** Control characters but tab and newline, and what is invisible. */
  removeInvisible?: boolean;
  /** Drop documents with U+FFFD, which stands where decoding went wrong, beyond this share of characters. */
  maxReplacementCharacters?: number;
}

export const unicodeDefaults = {
  form: "NFC",
  removeInvisible: true,
  maxReplacementCharacters: 0.001,
} satisfies Required<UnicodeOptions>;

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
const invisible = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u200b\u2060\ufeff]/g;

/** Changes the text; drops documents: wrong-encoding, nothing-visible. */
export function unicodeFilter(options: UnicodeOptions = {}): Stage {
  const rules = { ...unicodeDefaults, ...options };
  return defineFilter("unicode", rules, (document, account) => {
    const broken = document.text.split("\ufffd").length - 1;
    if (broken > rules.maxReplacementCharacters * document.text.length)
      return { drop: "wrong-encoding", detail: `${broken} of ${document.text.length} characters are U+FFFD` };
    let text = document.text.replace(/\r\n?|\u2028|\u2029|\u0085/g, "\n");
    if (rules.removeInvisible) text = text.replace(invisible, "");
    if (rules.form !== "none") text = text.normalize(rules.form);
    if (text === document.text) return document;
    if (text.trim() === "") return { drop: "nothing-visible" };
    account.count("characters removed", Math.max(0, document.text.length - text.length));
    return { ...document, text };
  });
}
