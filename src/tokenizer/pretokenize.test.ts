// Oracle: the regular expressions themselves, in JavaScript, with \s written as White_Space (which Oniguruma's is);
// and what Hugging Face's tokenizers 0.23.3 (Rust, Oniguruma) gives, written out.
import fc from "fast-check";
import { expect, test } from "vitest";
import { roughText } from "../../test/support/tokenizers.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN, type PretokenScanner, scanGpt2, scanLlama3 } from "./pretokenize.ts";

function cut(scan: PretokenScanner, text: string): string[] {
  const pieces: string[] = [];
  for (let i = 0; i < text.length; ) {
    const stop = scan(text, i, text.length);
    pieces.push(text.slice(i, stop));
    i = stop;
  }
  return pieces;
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
    fc.property(roughText(), (text) => {
      expect(cut(scan, text)).toEqual(text.match(pattern) ?? []);
    }),
    { seed: 2, numRuns: 4000 },
  );
});

test.for(patterns)("%s: cuts a part of a text as if it stood alone", ([, scan]) => {
  fc.assert(
    fc.property(roughText(), roughText(), roughText(), (before, text, after) => {
      // Surrogates that pair up across the border would make another text.
      fc.pre(!/[\ud800-\udbff]$/.test(before + text) && !/^[\udc00-\udfff]/.test(text + after));
      const whole = before + text + after;
      const pieces: string[] = [];
      const end = before.length + text.length;
      for (let i = before.length; i < end; ) {
        const stop = scan(whole, i, end);
        pieces.push(whole.slice(i, stop));
        i = stop;
      }
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
