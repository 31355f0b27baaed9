// Oracle: the regular expressions themselves, in JavaScript, with \s written as White_Space (which Oniguruma's is);
// and what Hugging Face's tokenizers 0.23.3 (Rust, Oniguruma) gives, written out.
import fc from "fast-check";
import { expect, test } from "vitest";
import { roughText } from "../../test/support/tokenizers.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN, type PretokenScanner, scanGpt2, scanLlama3 } from "./pretokenize.ts";

/** The pieces of the bytes from start to end. */
function cutBytes(scan: PretokenScanner, bytes: Buffer, start: number, end: number): string[] {
  const pieces: string[] = [];
  for (let i = start; i < end; ) {
    const stop = scan(bytes, i, end);
    pieces.push(bytes.toString("utf8", i, stop));
    i = stop;
  }
  return pieces;
}

function cut(scan: PretokenScanner, text: string): string[] {
  const bytes = Buffer.from(text);
  return cutBytes(scan, bytes, 0, bytes.length);
}

const white = (pattern: string) =>
  pattern
    .replaceAll("[^\\s", "[^\\p{White_Space}")
    .replaceAll("\\S", "\\P{White_Space}")
    .replaceAll("\\s", "\\p{White_Space}");
// JavaScript of Node 20 has no (?i:...); U+017F folds to s.
const folded = "'[sS\u017f]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
const patterns: [string, PretokenScanner, RegExp][] = [
  ["GPT-2", scanGpt2, new RegExp(white(GPT2_PATTERN), "gu")],
  ["LLaMA-3", scanLlama3, new RegExp(white(LLAMA3_PATTERN).replace(/^\(\?i:[^)]*\)/, folded), "gu")],
];

test.for(patterns)("%s: cuts every text as its regular expression does", ([, scan, pattern]) => {
  fc.assert(
    fc.property(roughText(), (rough) => {
      // Half a pair of surrogates is U+FFFD in UTF-8.
      const text = rough.replace(/\p{Surrogate}/gu, "\ufffd");
      expect(cut(scan, rough)).toEqual(text.match(pattern) ?? []);
    }),
    { seed: 2, numRuns: 4000 },
  );
});

test.for(patterns)("%s: cuts a part of a text as if it stood alone", ([, scan]) => {
  fc.assert(
    fc.property(roughText(), roughText(), roughText(), (before, text, after) => {
      const [first, middle, last] = [before, text, after].map((part) => Buffer.from(part));
      const bytes = Buffer.concat([first, middle, last]);
      const pieces = cutBytes(scan, bytes, first.length, first.length + middle.length);
      expect(pieces).toEqual(cut(scan, text));
    }),
    { seed: 3, numRuns: 1000 },
  );
});

test("takes U+0085 for white space, U+FEFF for none, and U+017F for an s, as Oniguruma does", () => {
  const text = "a \ufeffb\u0085 c\u00a0\u0085\u0085d";
  expect(cut(scanGpt2, text)).toEqual(["a", " \ufeff", "b", "\u0085", " c", "\u00a0\u0085", "\u0085", "d"]);
  expect(cut(scanLlama3, "x'\u017fthe")).toEqual(["x", "'\u017f", "the"]);
});
