/**
 * What two texts are compared by: words for near duplicates and for n-grams of evaluation data, and the text whose hash
 * tells exact duplicates. Plain functions on strings; called by the workers of signatures.ts and by contamination.ts.
 *
 * A word is a run of letters, digits and marks (Unicode), in lower case and compatibility form (NFKC). What stands between
 * words is left out. Where a script writes no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese), each character is a word.
 * UTF-8 that was once read as Windows-1252 counts as the characters that were meant.
 */

const letter = /[\p{L}\p{N}\p{M}]/u;
const spaceless =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

const BETWEEN = 0;
const INSIDE = 1;
const ALONE = 2;

const classOf = (character: string): number =>
  !letter.test(character) ? BETWEEN : spaceless.test(character) ? ALONE : INSIDE;

/** For each UTF-16 unit: what it is, and its lower case where that is one unit. Made at first use (some 20 ms). */
let tables: { kinds: Uint8Array; lower: Uint16Array } | undefined;

function unitTables() {
  if (tables) return tables;
  const kinds = new Uint8Array(65536);
  const lower = new Uint16Array(65536);
  for (let unit = 0; unit < 65536; unit++) {
    lower[unit] = unit;
    if (unit >= 0xd800 && unit <= 0xdfff) continue;
    const character = String.fromCharCode(unit);
    kinds[unit] = classOf(character);
    const small = character.toLowerCase();
    if (small.length === 1) lower[unit] = small.charCodeAt(0);
  }
  tables = { kinds, lower };
  return tables;
}

/** A list of 32-bit integers that grows, and is used again for the next text. */
export class IntList {
  values = new Int32Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.values.length) this.reserve(this.length * 2);
    this.values[this.length++] = value;
  }

  /** Makes room for `size` values; those that are there stay. */
  reserve(size: number): void {
    if (size <= this.values.length) return;
    const larger = new Int32Array(Math.max(size, this.values.length * 2));
    larger.set(this.values.subarray(0, this.length));
    this.values = larger;
  }
}

/** Finaliser of MurmurHash3 (Appleby, public domain): a permutation of 32-bit integers that mixes every bit. */
export function mix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const start = 0x811c9dc5 | 0;
const step = (hash: number, unit: number): number => Math.imul(hash ^ unit, 0x01000193);

const isAscii = (text: string): boolean => {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
};

/** What Windows-1252 shows for the bytes 0x80 to 0x9f; those that it leaves open stay control characters. */
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";
const byteOf = (character: string): number => {
  const at = windows1252.indexOf(character);
  return at >= 0 ? 0x80 + at : character.charCodeAt(0);
};
const misread = new RegExp(`â[€\\x80][\\x80-\\xbf${windows1252}]?|[ÂÃ][\\x80-\\xbf${windows1252}]`, "g");

/**
 * Text that was UTF-8, read as Windows-1252 or Latin-1 and saved again (donâ€™t for don’t, cafÃ© for café): the characters that were
 * meant, for U+0080 to U+00FF and the punctuation of U+2000 to U+203F. A closing quotation mark often lost its last byte on
 * the way (Windows-1252 has no 0x9d), so "â€" alone is one.
 */
export const repairMisread = (text: string): string =>
  text.replace(misread, (found) => {
    if (found.length === 2 && found[0] === "â") return "”";
    const low = byteOf(found.at(-1)!) & 0x3f;
    return String.fromCharCode((found[0] === "â" ? 0x2000 : found[0] === "Ã" ? 0xc0 : 0x80) | low);
  });

/**
 * A 32-bit hash for each word of a text, in order: FNV-1a over the UTF-16 units, finished by mix32.
 *
 * @param out  emptied, then filled
 */
export function hashWords(text: string, out: IntList): void {
  const { kinds, lower } = unitTables();
  const source = isAscii(text) ? text : repairMisread(text).normalize("NFKC");
  out.length = 0;
  let hash = start;
  let inside = false;
  for (let i = 0; i < source.length; i++) {
    const unit = source.charCodeAt(i);
    let kind = kinds[unit];
    let low = -1;
    if (unit >= 0xd800 && unit <= 0xdbff && i + 1 < source.length) {
      // A character of two units: not in the table.
      const character = String.fromCodePoint(source.codePointAt(i)!);
      kind = classOf(character);
      if (character.length === 2) {
        const small = character.toLowerCase();
        low = small.length === 2 ? small.charCodeAt(1) : source.charCodeAt(i + 1);
        i++;
      }
    }
    if (kind === INSIDE) {
      hash = step(hash, lower[unit]);
      if (low >= 0) hash = step(hash, low);
      inside = true;
      continue;
    }
    if (inside) {
      out.push(mix32(hash));
      hash = start;
      inside = false;
    }
    if (kind === ALONE) out.push(mix32(low >= 0 ? step(step(start, unit), low) : step(start, unit)));
  }
  if (inside) out.push(mix32(hash));
}

/** What exact duplicates share: the text in lower case and composed form (NFC), runs of white space as one space. */
export const exactText = (text: string): string =>
  (isAscii(text) ? text : text.normalize("NFC")).toLowerCase().replace(/\s+/g, " ").trim();
