/**
 * Cutting text into pre-tokens, the pieces that byte-pair merges never cross. Two patterns are written out by hand,
 * because a regular expression is most of the time that tokenizing takes: GPT-2's and LLaMA-3's.
 *
 * Each is equal to its regular expression below (a test compares them over random Unicode). `\s` is Unicode's
 * White_Space, as in the Rust library that the published tokenizers were made with; JavaScript's own `\s` takes U+FEFF
 * and leaves out U+0085.
 */
import { codePointAt, widthOf } from "./utf8-buffer.ts";

export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

export const LLAMA3_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/**
 * Where the pre-token that starts at `start` ends (exclusive), for start < end, in valid UTF-8. The text is seen as if it
 * ended at `end`. No character is cut.
 */
export type PretokenScanner = (bytes: Uint8Array, start: number, end: number) => number;

const LETTER = 1;
const NUMBER = 2;
const SPACE = 3;
const OTHER = 4;

// The class of each code point, found when first met: testing all 1.1 million at the start would take a third of a second.
const classes = new Uint8Array(0x110000);
const letter = /\p{L}/u;
const number = /\p{N}/u;
const space = /\p{White_Space}/u;

function classify(codePoint: number): number {
  const char = String.fromCodePoint(codePoint);
  const found = letter.test(char) ? LETTER : number.test(char) ? NUMBER : space.test(char) ? SPACE : OTHER;
  classes[codePoint] = found;
  return found;
}

function classOf(codePoint: number): number {
  const known = classes[codePoint];
  return known !== 0 ? known : classify(codePoint);
}

/** The class of each byte that is a character, and 0, no class, of those that begin or go on with a longer one. */
const byteClasses = Uint8Array.from({ length: 256 }, (_, byte) => (byte < 0x80 ? classify(byte) : 0));

/** The end of the run of characters of one class that starts at i (i itself when the first is of another class). */
function runEnd(bytes: Uint8Array, i: number, end: number, wanted: number): number {
  for (;;) {
    while (i < end && byteClasses[bytes[i]] === wanted) i++;
    if (i >= end || bytes[i] < 0x80 || classOf(codePointAt(bytes, i)) !== wanted) return i;
    i += widthOf(bytes[i]);
  }
}

/** `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe: the end, or -1. `fold` is 0x20 to take capitals too, else 0. */
function contractionEnd(bytes: Uint8Array, i: number, end: number, fold: number): number {
  if (i + 1 >= end) return -1;
  const first = bytes[i + 1] | fold;
  // s, t, m, d
  if (first === 0x73 || first === 0x74 || first === 0x6d || first === 0x64) return i + 2;
  if (i + 2 >= end) return -1;
  // U+017F, in two bytes, is a small s under case folding.
  if (fold !== 0 && bytes[i + 1] === 0xc5 && bytes[i + 2] === 0xbf) return i + 3;
  const second = bytes[i + 2] | fold;
  if ((first === 0x72 || first === 0x76) && second === 0x65) return i + 3; // re, ve
  return first === 0x6c && second === 0x6c ? i + 3 : -1; // ll
}

/** `\s+(?!\S)|\s+` for the run [start, stop): all of it at the end of the text, else all but the last character. */
function spacesEnd(bytes: Uint8Array, start: number, stop: number, end: number): number {
  if (stop === end) return stop;
  let last = stop - 1;
  while ((bytes[last] & 0xc0) === 0x80) last--;
  return last === start ? stop : last;
}

/** GPT2_PATTERN. */
export const scanGpt2: PretokenScanner = (bytes, start, end) => {
  const first = bytes[start];
  if (first === 0x27) {
    const stop = contractionEnd(bytes, start, end, 0);
    if (stop >= 0) return stop;
  }
  // One optional space, then a run of letters, of numbers, or of anything else that is not white.
  const body = first === 0x20 ? start + 1 : start;
  if (body < end) {
    const kind = byteClasses[bytes[body]] || classOf(codePointAt(bytes, body));
    if (kind !== SPACE) return runEnd(bytes, body, end, kind);
  }
  return spacesEnd(bytes, start, runEnd(bytes, start, end, SPACE), end);
};

/** LLAMA3_PATTERN. */
export const scanLlama3: PretokenScanner = (bytes, start, end) => {
  const first = bytes[start];
  if (first === 0x27) {
    const stop = contractionEnd(bytes, start, end, 0x20);
    if (stop >= 0) return stop;
  }
  const kind = byteClasses[first] || classOf(codePointAt(bytes, start));
  if (kind === LETTER) return runEnd(bytes, start, end, LETTER);
  if (kind === NUMBER) {
    let stop = start;
    for (let count = 0; count < 3 && stop < end; count++) {
      if (classOf(codePointAt(bytes, stop)) !== NUMBER) break;
      stop += widthOf(bytes[stop]);
    }
    return stop;
  }
  const second = start + widthOf(first);
  if (!isNewline(first)) {
    const stop = runEnd(bytes, second, end, LETTER);
    if (stop > second) return stop;
  }
  const body = first === 0x20 ? second : start;
  let stop = runEnd(bytes, body, end, OTHER);
  if (stop > body) {
    while (stop < end && isNewline(bytes[stop])) stop++;
    return stop;
  }
  const spaces = runEnd(bytes, start, end, SPACE);
  for (let i = spaces; i > start; i--) if (isNewline(bytes[i - 1])) return i;
  return spacesEnd(bytes, start, spaces, end);
};

const isNewline = (byte: number) => byte === 0x0a || byte === 0x0d;

/** The patterns by name, as a tokenizer hands them to a thread. */
export const scanners = { gpt2: scanGpt2, llama3: scanLlama3 } as const;
export type PatternName = keyof typeof scanners;
