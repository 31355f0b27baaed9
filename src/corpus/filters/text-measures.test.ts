// Oracles: the quality signals that RedPajama-V2 publishes with its documents (computed by its authors' Python) where the text
// here is the one that they were computed of, by its published length; for n-grams of any text, the definitions over strings.
import fc from "fast-check";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { readRows } from "../../../test/support/parquet-rows.ts";
import {
  countOf,
  endsWithEllipsis,
  extendNgrams,
  lengthOf,
  linesOf,
  meanLength,
  numberWords,
  paragraphsOf,
  repeatedItems,
  repeatedNgramShare,
  shareOf,
  startsWithBullet,
  topNgramShare,
  wordsOf,
} from "./text-measures.ts";

/** n-grams as strings, counted in a map. */
function naive(words: string[], n: number) {
  const grams = words.slice(0, Math.max(0, words.length - n + 1)).map((_, i) => words.slice(i, i + n).join("\u0000"));
  const counts = new Map<string, number>();
  for (const gram of grams) counts.set(gram, (counts.get(gram) ?? 0) + 1);
  const all = [...words.join("")].length;
  const [top, most] = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), ["", 0]);
  const covered = new Set(
    grams.flatMap((gram, i) => (counts.get(gram)! > 1 ? words.slice(i, i + n).map((_, k) => i + k) : [])),
  );
  return {
    top: most < 2 ? 0 : ([...top.replaceAll("\u0000", "")].length * most) / all,
    repeated: all === 0 ? 0 : [...covered].reduce((sum, i) => sum + [...words[i]].length, 0) / all,
  };
}

test("shares of n-grams are those of the definitions, for any words", () => {
  const word = fc.constantFrom("a", "bb", "ccc", "🙂", "é");
  fc.assert(
    fc.property(fc.array(word, { maxLength: 40 }), fc.integer({ min: 2, max: 10 }), (words, n) => {
      const numbered = numberWords(words);
      let grams = numbered.ids;
      for (let k = 2; k <= n; k++) grams = extendNgrams(grams, numbered.ids, k);
      const { top, repeated } = naive(words, n);
      expect(topNgramShare(grams, numbered, n)).toBeCloseTo(top, 12);
      expect(repeatedNgramShare(grams, numbered, n)).toBeCloseTo(repeated, 12);
    }),
    { seed: 3, numRuns: 300 },
  );
});

test("words, lines, paragraphs, lengths and counts", () => {
  expect(wordsOf("  one two\tthree\n\nfour ")).toEqual(["one", "two", "three", "four"]);
  expect(linesOf("a\r\nb\n\nc\n")).toEqual(["a", "b", "", "c"]);
  expect(linesOf("")).toEqual([""]);
  expect(paragraphsOf("\na\nb\n \nc\n\n\n\nd\n")).toEqual(["a\nb", "c", "d"]);
  expect([lengthOf("é🙂x"), lengthOf(""), countOf("aaaa", "aa"), countOf("", "a")]).toEqual([3, 0, 2, 0]);
  expect([meanLength(["a", "🙂🙂", "ccc"]), meanLength([])]).toEqual([2, 0]);
  expect(repeatedItems(["ab", "c", "ab", "ab"])).toEqual({ items: 2, characters: 4 });
  expect(["• x", " - x", "* x", "-x", "x - y", "*bold*"].map(startsWithBullet)).toEqual([
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
  expect(["a...", "a… ", "a.", "...a"].map(endsWithEllipsis)).toEqual([true, true, false, false]);
});

const files = Array.from({ length: 8 }, (_, i) => `data/text/redpajama_v2_fdedup_${i + 1}.parquet`);

/** RedPajama-V2's `normalize`: ASCII punctuation out, lower case, white space to one blank, NFD. */
const normalize = (text: string) =>
  text
    .replace(/[!-/:-@[-`{-~]/g, "")
    .toLowerCase()
    .trim()
    .replace(/\s+/g, " ")
    .normalize("NFD");

testShared(
  "shared: measures of over 100 RedPajama-V2 documents are the quality signals published with them",
  files,
  async () => {
    const rows = (await Promise.all(files.map((file) => readRows(sharedPath(file))))).flat();
    expect(rows).toHaveLength(117);
    const wrong: string[] = [];
    let compared = 0;
    const others: string[] = [];
    for (const row of rows) {
      const text = row.contents as string;
      // The copies were made to test deduplication, and some hold an edited text beside the signals of the first one.
      if (lengthOf(text) !== (row["quality_signals.ccnet_length"] as [number, number, number][])[0][2]) {
        others.push(row.id as string);
        continue;
      }
      const words = normalize(text)
        .split(" ")
        .filter((word) => word !== "");
      const numbered = numberWords(words);
      const lines = text.split("\n");
      if (lines.at(-1) === "") lines.pop();
      const signal = (name: string) => (row[`quality_signals.${name}`] as [number, number, number][])[0][2];
      const check = (name: string, found: number) => {
        compared++;
        // Their numbers are rounded to eight places and kept as float32.
        if (!(Math.abs(found - signal(name)) <= 1e-6 * Math.max(1, Math.abs(found))))
          wrong.push(`${row.id}: ${name}: ${found}, published ${signal(name)}`);
      };
      check("rps_doc_word_count", words.length);
      check("rps_doc_mean_word_length", meanLength(words));
      check("rps_doc_frac_unique_words", new Set(numbered.ids).size / words.length);
      check("rps_doc_frac_lines_end_with_ellipsis", shareOf(lines, endsWithEllipsis));
      check("rps_doc_curly_bracket", (countOf(text, "{") + countOf(text, "}")) / lengthOf(text));
      check("rps_doc_lorem_ipsum", countOf(normalize(text), "lorem ipsum") / lengthOf(normalize(text)));
      let grams = numbered.ids;
      for (let n = 2; n <= 10; n++) {
        grams = extendNgrams(grams, numbered.ids, n);
        if (n <= 4) check(`rps_doc_frac_chars_top_${n}gram`, topNgramShare(grams, numbered, n));
        else check(`rps_doc_frac_chars_dupe_${n}grams`, repeatedNgramShare(grams, numbered, n));
      }
    }
    expect(wrong).toEqual([]);
    expect(new Set(others).size).toBe(2);
    expect(compared).toBe((117 - others.length) * 15);
    expect(others.length).toBeLessThan(12);
  },
);
