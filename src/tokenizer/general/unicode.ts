/**
 * Classes of characters as the Rust library `tokenizers` has them: Unicode's own where that library asks for them, and its
 * older tables (unicode-tables.ts) where it carries some. Called by the components beside it and by encoder.ts.
 */
import * as tables from "./unicode-tables.ts";

/** A set of code points as a test of one. */
export type CharacterClass = (codePoint: number) => boolean;

function fromRuns(encoded: string): CharacterClass {
  let bits: Uint8Array | undefined;
  return (codePoint) => {
    bits ??= bitsOf(encoded);
    return (bits[codePoint >> 3] & (1 << (codePoint & 7))) !== 0;
  };
}

function bitsOf(encoded: string): Uint8Array {
  const bits = new Uint8Array(0x110000 >> 3);
  let at = 0;
  for (const [i, number] of encoded.split(" ").entries()) {
    const length = Number.parseInt(number, 36);
    if (i % 2 === 1) for (let c = at; c < at + length; c++) bits[c >> 3] |= 1 << (c & 7);
    at += length;
  }
  return bits;
}

/** Tested once for each code point: a regular expression costs some ten times as much as an array. */
function fromPattern(pattern: RegExp): CharacterClass {
  const known = new Uint8Array(0x110000);
  return (codePoint) => {
    const before = known[codePoint];
    if (before !== 0) return before === 2;
    const found = pattern.test(String.fromCodePoint(codePoint));
    known[codePoint] = found ? 2 : 1;
    return found;
  };
}

export const isControl = fromRuns(tables.control);
export const isNonspacingMark = fromRuns(tables.nonspacing);
export const isMark = fromRuns(tables.marks);
export const isPunctuation = fromRuns(tables.punctuation);
const isUndecomposed = fromRuns(tables.undecomposed);

/** `\s` of Rust: JavaScript's takes U+FEFF and leaves out U+0085. */
export const isSpace = fromPattern(/\p{White_Space}/u);
/** `\w` of Rust's regular expressions (Unicode's UTS 18): what a word is to `Whitespace` and to `single_word`. */
export const isWord = fromPattern(/[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u);
export const isNumeric = fromPattern(/\p{N}/u);

/** Chinese characters as BERT's code lists them, and the library after it (2B920 for 2B820 is its own). */
export const isChinese: CharacterClass = (c) =>
  (c >= 0x4e00 && c <= 0x9fff) ||
  (c >= 0x3400 && c <= 0x4dbf) ||
  (c >= 0x20000 && c <= 0x2a6df) ||
  (c >= 0x2a700 && c <= 0x2b73f) ||
  (c >= 0x2b740 && c <= 0x2b81f) ||
  (c >= 0x2b920 && c <= 0x2ceaf) ||
  (c >= 0xf900 && c <= 0xfaff) ||
  (c >= 0x2f800 && c <= 0x2fa1f);

/** String.prototype.normalize, without what Unicode has decomposed only since the library's version of it. */
export function normalizeAs(form: "NFC" | "NFD" | "NFKC" | "NFKD", text: string): string {
  if (form === "NFC") return text.normalize("NFC");
  let done = "";
  let from = 0;
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i)!;
    const width = codePoint > 0xffff ? 2 : 1;
    if (codePoint > 0x7f && isUndecomposed(codePoint)) {
      done += text.slice(from, i).normalize(form) + text.slice(i, i + width);
      from = i + width;
    }
    i += width;
  }
  return from === 0 ? text.normalize(form) : done + text.slice(from).normalize(form);
}

/** The script of a character as `UnicodeScripts` takes it: Japanese's three are one; null belongs to any. */
export function scriptOf(codePoint: number): string | null {
  if (codePoint === 0x20) return null;
  if (codePoint === 0x30fc) return "Han";
  const char = String.fromCodePoint(codePoint);
  for (const [name, pattern] of scripts) if (pattern.test(char)) return name;
  return "Unknown";
}

const scripts: readonly (readonly [string, RegExp])[] =
  "Latin Common Han Cyrillic Greek Arabic Hebrew Devanagari Thai Hangul Inherited Hiragana Katakana Armenian Georgian Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Lao Tibetan Myanmar Ethiopic Cherokee Canadian_Aboriginal Ogham Runic Khmer Mongolian Bopomofo Yi Old_Italic Gothic Deseret Tagalog Hanunoo Buhid Tagbanwa Limbu Tai_Le Linear_B Ugaritic Shavian Osmanya Cypriot Braille Buginese Coptic New_Tai_Lue Glagolitic Tifinagh Syloti_Nagri Old_Persian Kharoshthi Balinese Cuneiform Phoenician Phags_Pa Nko Sundanese Lepcha Ol_Chiki Vai Saurashtra Kayah_Li Rejang Lycian Carian Lydian Cham Tai_Tham Tai_Viet Avestan Egyptian_Hieroglyphs Samaritan Lisu Bamum Javanese Meetei_Mayek Imperial_Aramaic Old_South_Arabian Inscriptional_Parthian Inscriptional_Pahlavi Old_Turkic Kaithi Batak Brahmi Mandaic Chakma Meroitic_Cursive Meroitic_Hieroglyphs Miao Sharada Sora_Sompeng Takri Syriac Thaana"
    .split(" ")
    .map(
      (name) =>
        [name === "Hiragana" || name === "Katakana" ? "Han" : name, new RegExp(`\\p{Script=${name}}`, "u")] as const,
    );
