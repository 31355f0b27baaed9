/**
 * Cutting text into pre-tokens, the pieces that byte-pair merges never cross. Two patterns are written out by hand,
 * because a regular expression is most of the time that tokenizing takes: GPT-2's and LLaMA-3's.
 *
 * Each is equal to its regular expression below (a test compares them over random Unicode). `\s` is Unicode's
 * White_Space, as in the Rust library that the published tokenizers were made with; JavaScript's own `\s` takes U+FEFF
 * and leaves out U+0085. A lone surrogate counts as U+FFFD, which it is encoded as.
 */

export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

export const LLAMA3_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/**
 * Where the pre-token that starts at `start` ends (exclusive), for start < end. The text is seen as if it ended at
 * `end`. Offsets are in UTF-16 units; a pair of surrogates is never cut.
 */
export type PretokenScanner = (text: string, start: number, end: number) => number;

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

/** The code point at i, where a pair of surrogates must lie before `end`; a lone surrogate is itself (class OTHER). */
function codePointAt(text: string, i: number, end: number): number {
  const unit = text.charCodeAt(i);
  if ((unit & 0xfc00) !== 0xd800 || i + 1 >= end) return unit;
  const low = text.charCodeAt(i + 1);
  return (low & 0xfc00) === 0xdc00 ? ((unit - 0xd800) << 10) + (low - 0xdc00) + 0x10000 : unit;
}

/** The end of the run of code points of one class that starts at i (i itself when the first is of another class). */
function runEnd(text: string, i: number, end: number, wanted: number): number {
  while (i < end) {
    const unit = text.charCodeAt(i);
    if ((unit & 0xfc00) !== 0xd800) {
      if (classOf(unit) !== wanted) return i;
      i++;
    } else {
      const codePoint = codePointAt(text, i, end);
      if (classOf(codePoint) !== wanted) return i;
      i += codePoint > 0xffff ? 2 : 1;
    }
  }
  return end;
}

/** `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe: the end, or -1. `fold` is 0x20 to take capitals too, else 0. */
function contractionEnd(text: string, i: number, end: number, fold: number): number {
  if (i + 1 >= end) return -1;
  const first = text.charCodeAt(i + 1) | fold;
  // s, t, m, d
  if (first === 0x73 || first === 0x74 || first === 0x6d || first === 0x64) return i + 2;
  // U+017F is a small s under case folding.
  if (fold !== 0 && text.charCodeAt(i + 1) === 0x17f) return i + 2;
  if (i + 2 >= end) return -1;
  const second = text.charCodeAt(i + 2) | fold;
  if ((first === 0x72 || first === 0x76) && second === 0x65) return i + 3; // re, ve
  return first === 0x6c && second === 0x6c ? i + 3 : -1; // ll
}

/** `\s+(?!\S)|\s+` for the run [start, stop): all of it at the end of the text, else all but the last character. */
function spacesEnd(start: number, stop: number, end: number): number {
  return stop === end || stop === start + 1 ? stop : stop - 1;
}

/** GPT2_PATTERN. */
export const scanGpt2: PretokenScanner = (text, start, end) => {
  const first = text.charCodeAt(start);
  if (first === 0x27) {
    const stop = contractionEnd(text, start, end, 0);
    if (stop >= 0) return stop;
  }
  // One optional space, then a run of letters, of numbers, or of anything else that is not white.
  const body = first === 0x20 ? start + 1 : start;
  if (body < end) {
    const kind = classOf(codePointAt(text, body, end));
    if (kind !== SPACE) return runEnd(text, body, end, kind);
  }
  return spacesEnd(start, runEnd(text, start, end, SPACE), end);
};

/** LLAMA3_PATTERN. */
export const scanLlama3: PretokenScanner = (text, start, end) => {
  const first = codePointAt(text, start, end);
  if (first === 0x27) {
    const stop = contractionEnd(text, start, end, 0x20);
    if (stop >= 0) return stop;
  }
  const kind = classOf(first);
  if (kind === LETTER) return runEnd(text, start, end, LETTER);
  if (kind === NUMBER) {
    // At most three, some of which may be two units long.
    let stop = start;
    for (let count = 0; count < 3 && stop < end; count++) {
      const codePoint = codePointAt(text, stop, end);
      if (classOf(codePoint) !== NUMBER) break;
      stop += codePoint > 0xffff ? 2 : 1;
    }
    return stop;
  }
  const second = start + (first > 0xffff ? 2 : 1);
  if (first !== 0x0a && first !== 0x0d) {
    const stop = runEnd(text, second, end, LETTER);
    if (stop > second) return stop;
  }
  const body = first === 0x20 ? second : start;
  let stop = runEnd(text, body, end, OTHER);
  if (stop > body) {
    while (stop < end && isNewline(text.charCodeAt(stop))) stop++;
    return stop;
  }
  const spaces = runEnd(text, start, end, SPACE);
  for (let i = spaces; i > start; i--) if (isNewline(text.charCodeAt(i - 1))) return i;
  return spacesEnd(start, spaces, end);
};

const isNewline = (unit: number) => unit === 0x0a || unit === 0x0d;
