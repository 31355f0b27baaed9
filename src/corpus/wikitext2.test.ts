// Oracle: lm-evaluation-harness's own Python (its wikitext data script, wikitext_detokenizer and word count), run under
// Python 3.11 over the same files; the hashes and counts below are what it gave, pages joined with a NUL. The 217,646
// tokens are the figure that is published for the validation file.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { sha256Of } from "../platform/hash.ts";
import { readDocuments } from "./sources.ts";
import { countWikiText, countWords, detokenizeWikiText, isPageHeading, readPages } from "./wikitext2.ts";

async function pagesOf(path: string): Promise<string[]> {
  const pages: string[] = [];
  for await (const group of readPages(path)) pages.push(...group);
  return pages;
}

const files = [
  {
    name: "wiki.valid.raw",
    counts: { pages: 60, words: 214006, bytes: 1146785, tokens: 217646 },
    pages: "1eb71fcc339239073319089f73203a451d5d149b53e37fc4f93c423d08fd8571",
    detokenized: "d5bd98ccac4d0ffcd8ca06d7bd1a94f0871b631d7e3d454578760fca5b575b95",
  },
  {
    name: "wiki.valid.tokens",
    counts: { pages: 60, words: 214006, bytes: 1121620, tokens: 217646 },
    pages: "1ab25404bf5e2f329182d8581732c607b0482e3481a6d0407e60b544af04b7ec",
    detokenized: "07ba40a12c0e195e14458a7693caee338652871512939642bbc7559a24405777",
  },
  {
    name: "wiki.train.tokens.gz",
    counts: { pages: 629, words: 2053168, bytes: 10796518, tokens: 2088628 },
    pages: "0fef3ee62898288cdb864805479ea3b9571a8aa025305d7dd4cd6daada914221",
    detokenized: "a200601f9bbbddcd101f2e1f6747653c2a6c0e249136c708f0a8125de8d3fb25",
  },
];
for (const file of files) {
  const path = `data/wikitext2/${file.name}`;
  testShared(`shared: pages, words, bytes and detokenised text of ${file.name} are the harness's`, [path], async () => {
    expect(await countWikiText(sharedPath(path))).toEqual(file.counts);
    const pages = await pagesOf(sharedPath(path));
    expect(sha256Of(pages.join("\0"))).toBe(file.pages);
    expect(sha256Of(pages.map(detokenizeWikiText).join("\0"))).toBe(file.detokenized);
  });
}

test("every step of the detokeniser does what the harness's does", () => {
  const page =
    "/' 5/ a s 'b ( x ( y ) z ) [ q ] { r } \" hi \" ' yo ' it 's 5 @-@ 6 @,@ 7 @.@ 8 : ; . ! ? , = = = = T = = 20 ° N N \n = = = \x1c\x85 \ufeff (";
  expect(detokenizeWikiText(page)).toBe(
    "/'[0-9]/ a s'b (x ( y) z ) [q] {r} \"hi\" 'yo' it's 5-6,7.8:;.!?, ==== T == 20°N N\n=== \x1c\x85 \ufeff (",
  );
});

test("words are counted as Python splits them, empty ones at the ends included", () => {
  expect(countWords(" a\x1cb\x85c\ufeffd ")).toBe(5);
  expect(countWords("")).toBe(1);
});

test("only a heading of level 1 opens a page", () => {
  expect(isPageHeading(" = Homarus gammarus = ")).toBe(true);
  expect(isPageHeading(" = = Description = = ")).toBe(false);
  expect(isPageHeading(" = = = Life = = = ")).toBe(false);
  expect(isPageHeading("x = 5 = y")).toBe(false);
});

test("pages keep their lines; blank lines before the first heading are dropped, text there is a page", async () => {
  const path = join(temporaryFolder(), "a.tokens");
  writeFileSync(path, " \n = One = \n \n text \n = = Part = = \r\n more\n = Two = \n end\n");
  const pages = [" = One = \n \n text \n = = Part = = \n more", " = Two = \n end\n"];
  expect(await pagesOf(path)).toEqual(pages);
  const documents: string[] = [];
  for await (const document of readDocuments(path)) documents.push(document);
  expect(documents).toEqual(pages);
  writeFileSync(path, "before\n = One = \n");
  expect(await pagesOf(path)).toEqual(["before", " = One = \n"]);
});
