// Oracle: counts of texts made here; the tokenizer, the manifest and the report of the deduplication that are inspected.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { readManifest } from "../../data/dataset.ts";
import { deduplicate, fileSources } from "../dedup/index.ts";
import { readFilters } from "../filters/index.ts";
import type { DocumentEncoder } from "../document-encoder.ts";
import { prepareTokens } from "../prepare.ts";
import {
  inspectDataset,
  inspectDeduplication,
  inspectSources,
  kindOfFolder,
  markDifferences,
  tokensPerByte,
} from "./index.ts";

/** A token for each two bytes. */
const halves: DocumentEncoder = {
  vocabSize: 3,
  endOfText: 0,
  hash: "halves",
  encode: (text) => new Array(Math.ceil(Buffer.byteLength(text) / 2)).fill(1),
};

const words = (from: number, count: number) => Array.from({ length: count }, (_, i) => `word${from + i}`).join(" ");

/** Two files of lines: in one a blank line and a bad line, in the other a document of the first but for case. */
function corpus() {
  const folder = temporaryFolder();
  const rows = [
    { text: "héllo", source: "a" },
    { text: words(0, 80), source: "a" },
    { text: `${words(0, 79)} other`, source: "b" },
    { text: words(500, 40) },
  ];
  const first = join(folder, "first.jsonl");
  writeFileSync(first, `${rows.map((row) => JSON.stringify(row)).join("\n")}\n{"text": "   "}\n{"text": \n`);
  const second = join(folder, "second.jsonl");
  writeFileSync(second, `${JSON.stringify({ text: "HÉLLO" })}\n`);
  return { folder, first, second, texts: rows.map(({ text }) => text) };
}

describe("of files", () => {
  test("counts documents, characters, bytes and tokens of each file, and what is bad or blank", async () => {
    const { first, second, texts } = corpus();
    const found = await inspectSources({ sources: [first, second], tokenizer: halves, onBadRecord: "skip" });
    expect(found.groups).toEqual([
      {
        name: first,
        documents: 4,
        kept: 4,
        characters: texts.reduce((sum, text) => sum + text.length, 0),
        bytes: texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
        tokens: texts.reduce((sum, text) => sum + halves.encode(text).length, 0),
      },
      { name: second, documents: 1, kept: 1, characters: 5, bytes: 6, tokens: 3 },
    ]);
    expect(tokensPerByte(found.groups[1])).toBe(0.5);
    expect(tokensPerByte({ tokens: null, bytes: 6 })).toBeNull();
    expect(found.reading).toMatchObject({ files: 2, documents: 5, blank: 1, bad: 1 });
    expect(found.lengths.characters).toMatchObject({ unit: "characters", shortest: 5, longest: texts[1].length });
    expect(found.lengths.characters.bins.reduce((sum, n) => sum + n, 0)).toBe(5);
    expect(found.lengths.tokens.bins.slice(0, 2)).toEqual([0, 2]); // 3 tokens each
    expect(found.duplicates).toBeNull();
  });

  test("goes by what records say of their source, where that field is named", async () => {
    const { first } = corpus();
    const { groups } = await inspectSources({ sources: [first], fields: { source: "source" }, onBadRecord: "skip" });
    expect(groups.map(({ name, documents, tokens }) => [name, documents, tokens])).toEqual([
      ["a", 2, null],
      ["b", 1, null],
      [first, 1, null],
    ]);
  });

  test("tells what filters drop, with samples, and counts what they leave", async () => {
    const { first, second } = corpus();
    const stages = await readFilters("gopher-quality");
    const found = await inspectSources({ sources: [first, second], stages, samples: 1, onBadRecord: "skip" });
    expect(found.groups.map(({ documents, kept }) => [documents, kept])).toEqual([
      [4, 0],
      [1, 0],
    ]);
    const { documents, samples } = found.stages[0].dropped["too-few-words"];
    expect([documents, samples.length]).toEqual([3, 1]);
  });

  test("reads no more documents of each file than asked for, for duplicates too", async () => {
    const { first, second } = corpus();
    const found = await inspectSources({
      sources: [first, second],
      limit: 1,
      onBadRecord: "skip",
      duplicates: { near: false, threads: 0 },
    });
    expect(found.groups.map(({ documents }) => documents)).toEqual([1, 1]);
    expect(found.duplicates).toMatchObject({ documents: 2, dropped: { exact: 1 } });
  });

  test("finds duplicates as a deduplication does, with both texts", async () => {
    const { first, second } = corpus();
    const how = { sources: [first, second], onBadRecord: "skip" as const };
    const { duplicates } = await inspectSources({ ...how, duplicates: { near: false, threads: 0 } });
    expect(duplicates).toMatchObject({ documents: 5, kept: 4, dropped: { exact: 1, near: 0, contaminated: 0 } });
    const pairs = duplicates!.pairs.map(({ reason, dropped, other }) => [reason, dropped.text, other.text]);
    expect(pairs).toEqual([["exact", "HÉLLO", "héllo"]]);
  });
});

test("of a dataset: its splits as the manifest has them, end-of-text not counted as tokens of text", async () => {
  const { folder, first } = corpus();
  const outDir = join(folder, "set");
  await prepareTokens({ sources: [first], tokenizer: halves, outDir, onBadRecord: "skip" });
  expect(kindOfFolder(outDir)).toBe("dataset");
  const { train } = readManifest(outDir).splits;
  const found = inspectDataset(outDir);
  expect(found.groups).toEqual([
    { name: "train", documents: 4, kept: 4, characters: null, bytes: train.textBytes, tokens: train.tokens - 4 },
  ]);
  expect(found.lengths.train).toMatchObject({ unit: "tokens", shortest: 3 });
  expect(found.reading).toMatchObject({ bad: 1, blank: 1 });
});

test("of a deduplication: its report; another folder is text", async () => {
  const { folder, first, second } = corpus();
  const outDir = join(folder, "clean");
  const sources = await fileSources([first, second], { onBadRecord: "skip" });
  const { report } = await deduplicate({ sources, outDir, near: false, threads: 0 });
  expect(kindOfFolder(outDir)).toBe("deduplication");
  const found = inspectDeduplication(outDir);
  expect(found.duplicates).toEqual(report);
  expect(found.groups.map(({ documents, kept }) => [documents, kept])).toEqual([
    [4, 4],
    [1, 0],
  ]);
  mkdirSync(join(folder, "other"));
  writeFileSync(join(folder, "other", "report.json"), '{"format": "of somebody else"}');
  expect([folder, join(folder, "other"), first, "*.jsonl", "https://host/x"].map(kindOfFolder)).toEqual(
    new Array(5).fill(null),
  );
});

describe("differences", () => {
  const text = fc
    .array(fc.constantFrom("a", "b", "c", " ", "\n", "é "), { maxLength: 30 })
    .map((units) => units.join(""));
  const wordsOf = (part: string) => part.split(/\s+/).filter((word) => word !== "");

  test("the stretches are the text, and what is unmarked is a longest common sequence of words", () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        const [left, right] = markDifferences(a, b);
        for (const [stretches, whole] of [
          [left, a],
          [right, b],
        ] as const) {
          expect(stretches.map(({ text }) => text).join("")).toBe(whole);
          expect(stretches.every(({ differs }, i) => i === 0 || differs !== stretches[i - 1].differs)).toBe(true);
        }
        const common = (stretches: typeof left) =>
          stretches.filter(({ differs }) => !differs).flatMap(({ text }) => wordsOf(text));
        expect(common(left)).toEqual(common(right));
        expect(common(left).length).toBe(longestCommon(wordsOf(a), wordsOf(b)));
      }),
      { seed: 30, numRuns: 500 },
    );
  });

  test("marks the words of a near duplicate that changed", () => {
    const marked = markDifferences("The red cat  sat.", "The big red cat ran.").map((stretches) =>
      stretches.map(({ text, differs }) => (differs ? `[${text}]` : text)).join(""),
    );
    expect(marked).toEqual(["The red cat[  sat.]", "The[ big] red cat[ ran.]"]);
  });
});

/** By looking at every way to leave words out, remembered. */
function longestCommon(a: readonly string[], b: readonly string[], known = new Map<string, number>()): number {
  if (a.length === 0 || b.length === 0) return 0;
  const key = `${a.length},${b.length}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const best = Math.max(
    a[0] === b[0] ? 1 + longestCommon(a.slice(1), b.slice(1), known) : 0,
    longestCommon(a.slice(1), b, known),
    longestCommon(a, b.slice(1), known),
  );
  known.set(key, best);
  return best;
}
