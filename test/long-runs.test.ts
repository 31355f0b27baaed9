// Long runs of one thing in ordinary text (newlines, dots, brackets that stay open) take time by their length, not by its
// square. Oracle for what the rewritten functions say: the regular expressions that they replaced, written out, over short
// random texts of the same characters. The limit of 5 s is some hundred times what a linear pass takes; the old patterns
// took minutes.
import fc from "fast-check";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type FilterName, filterKinds } from "../src/corpus/filters/index.ts";
import { hashWords } from "../src/corpus/dedup/words.ts";
import { readTextDocuments } from "../src/corpus/index.ts";
import { detokenizeWikiText, isPageHeading } from "../src/corpus/wikitext2.ts";
import { rstrip, strip } from "../src/eval/python.ts";
import { withinTime } from "../src/platform/deadline.ts";
import { IntList } from "../src/corpus/dedup/words.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const units = [
  "\n",
  "\r\n",
  " ",
  "\t\n",
  ".",
  "...",
  "a",
  "1 ",
  "[",
  "(",
  "{",
  '"',
  "@",
  "a@",
  "- ",
  "\u0301",
  "<",
  '!"',
  "# ",
];
const length = 200_000;
const sentences = `${"The cat and the dog have sat with that and it was the best of it. ".repeat(30)}\n`;
const texts = units.map((unit) => `${sentences}a${unit.repeat(length / unit.length)}b. ${sentences}`);

const judges: [string, (text: string) => unknown][] = [
  ["WikiText's detokenizer", detokenizeWikiText],
  ["a page's heading", isPageHeading],
  ["Python's strip", strip],
  ["hashes of words", (text) => hashWords(text, new IntList())],
];

test.for(judges)("%s", ([, judge]) => {
  for (const text of texts)
    withinTime(
      5000,
      () => `takes too long for ${JSON.stringify(text.slice(-20))}`,
      () => judge(text),
    );
});

test.for(Object.keys(filterKinds) as FilterName[])("the filter %s", { timeout: 60_000 }, async (name) => {
  const { judge } = await filterKinds[name].make({} as never, ".");
  const rest = { id: null, language: null, score: 5, source: null, file: "x.txt", place: "document 1" };
  for (const text of texts)
    withinTime(
      5000,
      () => `takes too long for ${JSON.stringify(text.slice(0, 20))}`,
      () => judge!({ text, ...rest }, { count() {} }),
    );
});

test("a .txt with 200,000 newlines in a row is read at once", async () => {
  const path = join(temporaryFolder(), "long.txt");
  writeFileSync(path, `a${"\n".repeat(length)}b`);
  const documents: string[] = [];
  for await (const { text } of readTextDocuments(path, { separator: "none" })) documents.push(text);
  expect(documents.map((text) => text.length)).toEqual([length + 2]);
});

const white = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const roughText = fc
  .array(fc.constantFrom(..."ab (){}[]\"'=\n\t\u00a0\ufeff\u001c.@-é😀"), { maxLength: 30 })
  .map((characters) => characters.join(""));

test("Python's strip, and WikiText's brackets, say what their regular expressions say", () => {
  const stripped = (text: string) =>
    text.replace(new RegExp(`${white}+$`, "u"), "").replace(new RegExp(`^${white}+`, "u"), "");
  const s = `${white}*`;
  const brackets: [RegExp, string][] = [
    [new RegExp(`\\(${s}([^)]*?)${s}\\)`, "gu"), "($1)"],
    [new RegExp(`\\[${s}([^\\]]*?)${s}\\]`, "gu"), "[$1]"],
    [new RegExp(`\\{${s}([^}]*?)${s}\\}`, "gu"), "{$1}"],
    [new RegExp(`"${s}([^"]*?)${s}"`, "gu"), '"$1"'],
    [new RegExp(`'${s}([^']*?)${s}'`, "gu"), "'$1'"],
  ];
  fc.assert(
    fc.property(roughText, (text) => {
      expect(strip(text)).toBe(stripped(text));
      expect(rstrip(text)).toBe(text.replace(new RegExp(`${white}+$`, "u"), ""));
      // Steps of its own aside: no text of this alphabet has what they look for.
      const plain = text.replaceAll(/[=.@]| ['\n]|\n |s /g, "");
      const expected = brackets.reduce((one, [from, to]) => one.replaceAll(from, to), plain);
      if (detokenizeWikiText(expected) === expected) expect(detokenizeWikiText(plain)).toBe(expected);
    }),
    { seed: 3, numRuns: 3000 },
  );
});
