// Records that cannot be read, in text and JSON lines. Oracle: the files are put together here; what is good in them is known.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createSourceReport, type FieldMap } from "./records.ts";
import { expandSources, readTextDocuments, type SourceOptions } from "./sources.ts";

const rows = Array.from({ length: 2000 }, (_, i) => ({ text: `Row ${i} has words.`, n: i }));
const lines = rows.map((row) => JSON.stringify(row));

function fileOf(name: string, content: string | Uint8Array): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

async function read(path: string, options: SourceOptions = {}) {
  const report = createSourceReport();
  const documents = [];
  for await (const document of readTextDocuments(path, { ...options, report })) documents.push(document);
  return { texts: documents.map(({ text }) => text), documents, report };
}
const skip = (path: string, options: SourceOptions = {}) => read(path, { ...options, onBadRecord: "skip" });

test("a JSON line cut in half, one that is no object, one of wrong bytes: each named, the others kept", async () => {
  const content = Buffer.concat([
    Buffer.from(`${lines[0]}\n${lines[1].slice(0, 12)}\n[1]\n${lines[2]}\n{"text":"caf`),
    Buffer.from([0xe9]),
    Buffer.from(`"}\n{"text":7}\n${lines[3]}\n${lines[4].slice(0, 9)}`),
  ]);
  const path = fileOf("a.jsonl", content);
  await expect(read(path)).rejects.toThrow(`${path}: line 2: is not JSON`);
  const { texts, documents, report } = await skip(path);
  expect(texts).toEqual([0, 2, 3].map((i) => rows[i].text));
  expect(documents[2].place).toBe("line 7");
  expect(report).toMatchObject({ files: 1, documents: 3, bad: 5 });
  expect(report.badRecords.map(({ reason }) => reason.replace(/ \(.*/, ""))).toEqual(
    [
      "line 2: is not JSON",
      'line 3: expected a JSON object with the field "text", found an array',
      "line 5: byte 68",
      'line 6: field "text" is a number; expected a string',
      "line 8: is not JSON",
    ].map((reason, i) => (i === 2 ? expect.stringMatching(/^line 5: byte \d+$/) : reason)),
  );
});

test("a line far over the limit is passed over in bounded memory; its neighbours are kept", async () => {
  const long = JSON.stringify({ text: "x".repeat(5_000_000) });
  const path = fileOf("long.jsonl.gz", gzipSync(`${lines[0]}\n${long}\n${lines[1]}\n${long}`));
  const options = { maxDocumentBytes: 100_000 };
  await expect(read(path, options)).rejects.toThrow(`${path}: line 2 (from byte 34) is over the limit of 100000 bytes`);
  const { texts, documents, report } = await skip(path, options);
  expect(texts).toEqual([rows[0].text, rows[1].text]);
  expect(documents[1].place).toBe("line 3");
  expect(report.bad).toBe(2);
  expect(report.badRecords[1].reason).toContain("line 4 (from byte");
});

test("a text document over the limit is passed over, whichever way the separator falls", async () => {
  for (const size of [262_130, 262_144, 262_150, 524_288, 524_300]) {
    const path = fileOf("a.txt", `one<|endoftext|>${"x".repeat(size)}<|endoftext|>two`);
    const { texts, report } = await skip(path, { maxDocumentBytes: 1000 });
    expect([size, texts, report.bad]).toEqual([size, ["one", "two"], 1]);
  }
});

test("of a gzip that is cut short, whole lines before the cut are kept", async () => {
  const whole = gzipSync(lines.join("\n"), { level: 1 });
  const path = fileOf("cut.jsonl.gz", whole.subarray(0, Math.floor(whole.length / 2)));
  await expect(read(path)).rejects.toThrow(`${path}: the gzip stream is cut short, after`);
  const { texts, report } = await skip(path);
  expect(texts.length).toBeGreaterThan(500);
  expect(texts).toEqual(rows.slice(0, texts.length).map(({ text }) => text));
  expect(report).toMatchObject({ bad: 1, badRecords: [{ file: path, records: 1 }] });
});

test("blank documents are counted; an empty file is a bad record", async () => {
  const { texts, report } = await skip(fileOf("a.txt", "one<|endoftext|> \n <|endoftext|>two<|endoftext|>"));
  expect(texts).toEqual(["one", "two"]);
  expect(report).toMatchObject({ documents: 2, blank: 2, bad: 0, characters: 6 });
  expect((await skip(fileOf("b.txt", ""))).report.bad).toBe(1);
});

const mapped: [FieldMap, unknown, unknown][] = [
  [{ text: ["story", "instruction"] }, { story: "S", instruction: "I" }, { text: "S\n\nI" }],
  [{ text: ["story", "instruction"], join: " | " }, { story: "S", instruction: null }, { text: "S" }],
  [{ text: ["a", "b"], join: "-" }, { a: "", b: "B" }, { text: "B" }],
  [{ text: "doc.body" }, { doc: { body: "deep" } }, { text: "deep" }],
  [{ text: "doc.body" }, { "doc.body": "flat", doc: { body: "deep" } }, { text: "flat" }],
  [
    { id: "n", language: "meta.lang", score: "q", source: "from" },
    { text: "T", n: 12, meta: { lang: "de" }, q: "2.5", from: "wiki" },
    { text: "T", id: "12", language: "de", score: 2.5, source: "wiki" },
  ],
  [
    { score: "q", id: "n" },
    { text: "T", q: null },
    { text: "T", score: null, id: null },
  ],
];
test.for(mapped)("fields %j of %j", async ([fields, row, document]) => {
  const { documents } = await read(fileOf("a.jsonl", JSON.stringify(row)), { fields });
  expect(documents).toMatchObject([document]);
});

test.for([
  [{ score: "q" }, { text: "T", q: "high" }, 'line 1: field "q" is "high"; expected a number'],
  [{ id: "n" }, { text: "T", n: [1] }, 'line 1: field "n" is an array; expected a string or a number'],
  [{ text: ["a", "b"] }, { c: "T" }, 'line 1: has no field "a" or "b"; its fields are: c'],
] as const)("fields %j of %j are refused", async ([fields, row, message]) => {
  await expect(read(fileOf("a.jsonl", JSON.stringify(row)), { fields })).rejects.toThrow(message);
});

test("globs give the files that match, by name; one that matches none is refused", async () => {
  const folder = temporaryFolder();
  for (const name of ["a1.txt", "a2.txt", "b1.txt", "sub/a3.txt", "sub/deep/a4.jsonl", "a[5].txt"]) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), "x");
  }
  const found = (pattern: string) =>
    expandSources([join(folder, pattern)]).map((path) => path.slice(folder.length + 1));
  expect(found("a?.txt")).toEqual(["a1.txt", "a2.txt"]);
  expect(found("*1.*")).toEqual(["a1.txt", "b1.txt"]);
  expect(found("**/a*")).toEqual(["a1.txt", "a2.txt", "a[5].txt", "sub/a3.txt", "sub/deep/a4.jsonl"]);
  expect(found("[!b]?.txt")).toEqual(["a1.txt", "a2.txt"]);
  expect(found("a[5].txt")).toEqual(["a[5].txt"]);
  expect(() => found("c*.txt")).toThrow("no file matches whose name ends in .txt");
  expect(() => expandSources(["https://example.org/a.txt"])).toThrow("bring it here first: bitnet data filter");
});
