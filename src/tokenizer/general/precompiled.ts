/**
 * SentencePiece's compiled character map (nmt_nfkc and the like), which the normalizer `Precompiled` carries in base64: the
 * size of a trie in bytes, the trie (a double array after darts-clone), the replacements, each ended by a zero byte.
 *
 * Applied as the Rust library does: to a grapheme of fewer than six bytes as a whole, else character by character; of
 * several keys that a text begins with, the shortest. Called by normalizers.ts.
 */
import { FormatError } from "../../platform/errors.ts";

/** @throws FormatError for bytes that are no such map */
export function precompiledMap(base64: string | null | undefined, where: string): (text: string) => string {
  if (!base64) return (text) => text;
  const refuse = (what: string) =>
    new FormatError(
      `${where}: "precompiled_charsmap" ${what}; expected SentencePiece's character map in base64, a trie and its replacements`,
    );
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    throw refuse("is no base64");
  }
  const view = new DataView(bytes.buffer);
  const size = bytes.length >= 4 ? view.getUint32(0, true) : -1;
  if (size < 0 || size % 4 !== 0 || 4 + size > bytes.length) throw refuse("ends amid its trie");
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.subarray(4 + size);

  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** What the text is to become; null where no key begins it. */
  const look = (key: Uint8Array): string | null => {
    let node = offsetOf(units[0] ?? 0);
    for (const byte of key) {
      if (byte === 0) return null;
      node ^= byte;
      if (node >= units.length) return null;
      const unit = units[node];
      // The label, and the bit that says "a value".
      if ((unit & 0x800000ff) >>> 0 !== byte) return null;
      node ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) {
        const at = (units[node] ?? 0) & 0x7fffffff;
        let end = at;
        while (end < replacements.length && replacements[end] !== 0) end++;
        return decoder.decode(replacements.subarray(at, end));
      }
    }
    return null;
  };
  const known = new Map<string, string | null>();
  const replacementOf = (part: string): string | null => {
    let found = known.get(part);
    if (found === undefined) {
      found = look(encoder.encode(part));
      if (known.size < 65536) known.set(part, found);
    }
    return found;
  };
  const graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });
  return (text) => {
    let mapped = "";
    for (const { segment } of graphemes.segment(text)) {
      // Three bytes a UTF-16 unit at most: longer ones need no counting.
      const whole = segment.length < 6 && encoder.encode(segment).length < 6 ? replacementOf(segment) : null;
      if (whole !== null) mapped += whole;
      else for (const char of segment) mapped += replacementOf(char) ?? char;
    }
    return mapped;
  };
}

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
