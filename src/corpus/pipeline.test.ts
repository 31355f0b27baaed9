// Oracle: documents made here, of which it is known what each stage must do with them.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { openShards, readManifest } from "../data/dataset.ts";
import { defineFilter, runPipeline, type Stage } from "./pipeline.ts";
import { histogramOfLengths, prepareReportName, readPrepareReport } from "./prepare-report.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { prepareTokens } from "./prepare.ts";
import type { TextDocument } from "./records.ts";

const documentOf = (text: string, i: number): TextDocument => ({
  text,
  id: String(i),
  language: null,
  score: i,
  source: null,
  file: "made",
  place: `document ${i + 1}`,
});
async function* from(texts: readonly string[]) {
  for (const [i, text] of texts.entries()) yield documentOf(text, i);
}
async function textsOf(documents: AsyncIterable<TextDocument>) {
  const texts: string[] = [];
  for await (const { text } of documents) texts.push(text);
  return texts;
}

const even = defineFilter("even", { by: 2 }, (document) =>
  document.score! % 2 === 0 ? document : { drop: "odd", detail: `score ${document.score}` },
);
const shout = defineFilter("shout", {}, (document, account) => {
  if (document.text === document.text.toUpperCase()) return document;
  account.count("letters", document.text.length);
  return { ...document, text: document.text.toUpperCase() };
});
/** A stage with a memory: what came before is dropped. */
const unique: Stage = {
  name: "unique",
  options: {},
  async *run(documents, account) {
    const seen = new Set<string>();
    for await (const document of documents) {
      if (seen.has(document.text)) account.drop(document, "seen");
      else {
        seen.add(document.text);
        yield document;
      }
    }
  },
};

const texts = ["a", "b", "B", "c", "C", "d", "a", "e", "A", "f"];

test("documents go through filters and stages in order, and every one is accounted for", async () => {
  const dropped: string[] = [];
  const onDrop = ({ text }: TextDocument, stage: string, reason: string) => dropped.push(`${stage} ${reason} ${text}`);
  const run = runPipeline(from(texts), [even, shout, unique, defineFilter("all", {}, (document) => document)], {
    onDrop,
  });
  expect(await textsOf(run.documents)).toEqual(["A", "B", "C"]);
  const [first, second, third, fourth] = run.report();
  expect(first).toMatchObject({ name: "even", options: { by: 2 }, documentsIn: 10, documentsOut: 5, changed: 0 });
  expect(first.dropped.odd).toMatchObject({ documents: 5, characters: 5 });
  expect(second).toMatchObject({ documentsIn: 5, documentsOut: 5, changed: 2, dropped: {}, counts: { letters: 2 } });
  expect(third).toMatchObject({ documentsIn: 5, documentsOut: 3, dropped: { seen: { documents: 2 } } });
  expect(fourth).toMatchObject({ documentsIn: 3, documentsOut: 3, charactersOut: 3 });
  expect(dropped).toEqual([
    ...["even odd b", "even odd c", "even odd d", "unique seen A", "even odd e", "unique seen A", "even odd f"],
  ]);
  for (const { documentsIn, documentsOut, dropped } of run.report())
    expect(documentsIn).toBe(documentsOut + Object.values(dropped).reduce((sum, { documents }) => sum + documents, 0));
});

test("samples are the same whatever the order of the documents, and as many as asked for", async () => {
  const none = defineFilter("none", {}, () => ({ drop: "all" }));
  const many = Array.from({ length: 500 }, (_, i) => `text number ${i}`);
  const samplesOf = async (list: string[]) => {
    const run = runPipeline(from(list), [none], { samples: 4 });
    await textsOf(run.documents);
    return run.report()[0].dropped.all.samples.map(({ text }) => text);
  };
  const samples = await samplesOf(many);
  expect(samples).toHaveLength(4);
  expect(await samplesOf([...many].reverse())).toEqual(samples);
});

test("nothing is read ahead of what is asked for", async () => {
  let read = 0;
  async function* counted() {
    for await (const document of from(texts)) {
      read++;
      yield document;
    }
  }
  for await (const _ of runPipeline(counted(), [shout, unique]).documents) if (read >= 4) break;
  expect(read).toBe(4); // a, b, B (which is dropped), c
});

const bytes: DocumentEncoder = {
  vocabSize: 257,
  endOfText: 256,
  hash: "bytes",
  encode: (text) => new TextEncoder().encode(text),
};

test("prepare puts documents through stages; the account lies beside the dataset, and the stages are part of its key", async () => {
  const folder = temporaryFolder();
  const file = join(folder, "a.jsonl");
  const rows = texts.map((text, i) => JSON.stringify({ text: text.repeat(i + 1), n: i }));
  writeFileSync(file, [...rows, '{"text":"cut'].join("\n"));
  const prepare = (outDir: string, stages: Stage[]) =>
    prepareTokens({
      sources: [file],
      tokenizer: bytes,
      outDir: join(folder, outDir),
      fields: { score: "n" },
      onBadRecord: "skip",
      stages,
    });
  const { folder: set, manifest } = await prepare("set", [even, shout]);
  expect(manifest.splits.train).toMatchObject({ documents: 5, textBytes: 1 + 3 + 5 + 7 + 9 });
  const account = readPrepareReport(set)!;
  expect(account.sources).toMatchObject({ documents: 10, bad: 1, badRecords: [{ file }] });
  expect(account.stages.map(({ name, documentsOut }) => [name, documentsOut])).toEqual([
    ["even", 5],
    ["shout", 5],
  ]);
  const shards = openShards(set, "train");
  expect(histogramOfLengths(shards)).toEqual({ bins: [1, 1, 2, 1], shortest: 1, longest: 9, mean: 5 });
  for (const shard of shards) shard.close();
  expect((await prepare("set", [even, shout])).reused).toBe(true);
  const other = await prepare("other", [shout]);
  expect(other.manifest.key).not.toBe(manifest.key);
  expect(readManifest(other.folder).splits.train.documents).toBe(10);
  writeFileSync(join(set, prepareReportName), "{}");
  expect(() => readPrepareReport(set)).toThrow("is not the account of a dataset");
});

test("stages that leave nothing are named, and nothing half-written stays", async () => {
  const folder = temporaryFolder();
  const file = join(folder, "a.txt");
  writeFileSync(file, "some text");
  const none = defineFilter("none", {}, () => ({ drop: "all" }));
  const outDir = join(folder, "set");
  await expect(prepareTokens({ sources: [file], tokenizer: bytes, outDir, stages: [none] })).rejects.toThrow(
    `${file}: the filters leave no document (none: 1 all); loosen them`,
  );
  expect(existsSync(outDir)).toBe(false);
});
