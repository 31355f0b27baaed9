// Parquet, Arrow and Zstandard. Oracle: the same eight documents written by pyarrow 21 (test/fixtures/documents/make.py);
// row counts and columns of real files are those that ../shared/data/README.md states.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createSourceReport, type TextDocument } from "./records.ts";
import { readTextDocuments, type SourceOptions } from "./sources.ts";

const fixture = (name: string) => resolve(import.meta.dirname, "../../test/fixtures/documents", name);
const texts = Array.from({ length: 8 }, (_, i) => `Document ${i}: naïve café, 你好 🙂.\nSecond line of ${i}.`);
const fields = { text: "text", id: "id", language: "lang", score: "score", source: "meta.source" };

async function read(path: string, options?: SourceOptions): Promise<TextDocument[]> {
  const documents: TextDocument[] = [];
  for await (const document of readTextDocuments(path, options)) documents.push(document);
  return documents;
}

// First in this file: bytes were lost while the Zstandard library was loaded.
test("what counts the bytes that are read takes none of them away", async () => {
  for (const name of ["documents.jsonl.zst", "frames.jsonl.zst", "zstd.parquet", "file.arrow"]) {
    let bytes = 0;
    const onRead = (more: number) => {
      bytes += more;
    };
    expect(await read(fixture(name), { onRead })).toHaveLength(8);
    const { length } = readFileSync(fixture(name));
    // An Arrow file's footer repeats what its messages say, and is not read.
    expect(bytes / length).toBeGreaterThan(name === "file.arrow" ? 0.6 : 0.99);
    expect(bytes).toBeLessThanOrEqual(length);
  }
});

const rowFiles = [
  "snappy.parquet",
  "zstd.parquet",
  "gzip.parquet",
  "none.parquet",
  "stream.arrow",
  "file.arrow",
  "zstd.arrow",
];

test.for(rowFiles)("%s gives texts, ids of 64 bits, languages, scores and a field within a field", async (name) => {
  const documents = await read(fixture(name), { fields });
  expect(documents).toEqual(
    texts.map((text, i) => ({
      text,
      id: String(2 ** 40 + i),
      language: i % 2 === 0 ? "en" : "fr",
      score: i / 2,
      source: `s${i % 3}`,
      file: fixture(name),
      place: `row ${i + 1}`,
    })),
  );
});

test("large strings, and several Zstandard frames in one file, come out whole", async () => {
  expect((await read(fixture("large.arrow"))).map(({ text }) => text)).toEqual(texts);
  expect((await read(fixture("documents.jsonl.zst"))).map(({ text }) => text)).toEqual(texts);
  expect((await read(fixture("frames.jsonl.zst"))).map(({ text }) => text)).toEqual(texts);
});

test("a codec that is not read is named", async () => {
  await expect(read(fixture("lz4.arrow"))).rejects.toThrow(
    /lz4\.arrow: is compressed with LZ4, .*write it again uncompressed or with Zstandard/,
  );
  await expect(skip(fixture("lz4.arrow"))).rejects.toThrow("is compressed with LZ4");
});

/** Reads with onBadRecord skip; gives the texts and the account. */
async function skip(path: string, options: SourceOptions = {}) {
  const report = createSourceReport();
  const documents = await read(path, { ...options, onBadRecord: "skip", report });
  return { texts: documents.map(({ text }) => text), report };
}

describe("bad files are refused by name and place, or counted and passed over:", () => {
  test.for(["zstd.parquet", "stream.arrow"])("%s without the column asked for", async (name) => {
    const path = fixture(name);
    await expect(read(path, { field: "body" })).rejects.toThrow(
      `${path}: row 1: has no column "body"; its columns are: text, id, lang, score, meta`,
    );
    await expect(read(path, { fields: { score: "quality" } })).rejects.toThrow('has no column "quality"');
    const { texts, report } = await skip(path, { field: "body" });
    expect(texts).toEqual([]);
    expect(report.bad).toBe(8);
    expect(report.badRecords[0]).toMatchObject({ file: path, reason: expect.stringContaining('no column "body"') });
  });

  test.for(["latin1.parquet", "latin1.arrow"])("%s: text that is not UTF-8, in row 2", async (name) => {
    const path = fixture(name);
    await expect(read(path)).rejects.toThrow(`${path}: row 2: field "text" is not valid UTF-8 at byte 3 of it (0xe9)`);
    const { texts, report } = await skip(path);
    expect(texts).toEqual(["fine", "fine too"]);
    expect(report.bad).toBe(1);
  });

  test("a Parquet and an Arrow file that are cut short", async () => {
    const folder = temporaryFolder();
    const cut = (name: string, keep: number) => {
      const bytes = readFileSync(fixture(name));
      const path = join(folder, name);
      writeFileSync(path, bytes.subarray(0, Math.floor(bytes.length * keep)));
      return path;
    };
    const parquet = cut("snappy.parquet", 0.7);
    await expect(read(parquet)).rejects.toThrow(`${parquet}: cannot be read as Parquet`);
    expect((await skip(parquet)).report.bad).toBe(1);
    const arrow = cut("stream.arrow", 0.8);
    await expect(read(arrow)).rejects.toThrow(/stream\.arrow: row 4 \(behind byte \d+\): cannot be read as Arrow/);
    const { texts: kept, report } = await skip(arrow);
    expect(kept).toEqual(texts.slice(0, kept.length));
    expect(kept.length).toBeGreaterThan(0);
    expect(report.bad).toBe(1);
  });

  test("a Parquet file with damaged pages loses that row group alone", async () => {
    const path = join(temporaryFolder(), "damaged.parquet");
    const bytes = Buffer.from(readFileSync(fixture("zstd.parquet")));
    bytes.fill(0, 8, 40); // the first row group's text column stands first
    writeFileSync(path, bytes);
    await expect(read(path)).rejects.toThrow(`${path}: rows 1 to 3: cannot be read as Parquet`);
    const { texts: kept, report } = await skip(path);
    expect(kept).toEqual(texts.slice(3));
    expect(report.bad).toBe(3);
  });

  test("a Zstandard file that is cut short, or is none", async () => {
    const bytes = readFileSync(fixture("documents.jsonl.zst"));
    const path = join(temporaryFolder(), "cut.jsonl.zst");
    writeFileSync(path, bytes.subarray(0, bytes.length - 9));
    await expect(read(path)).rejects.toThrow(`${path}: the zstd stream is cut short`);
    writeFileSync(path, "plain text, not compressed at all");
    await expect(read(path)).rejects.toThrow(`${path}: zstd: invalid zstd data`);
    // A frame that asks for a window of 1 GiB: descriptor 0, window byte (20 << 3).
    writeFileSync(path, Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, ...new Uint8Array(40)));
    await expect(read(path)).rejects.toThrow("window of 1073741824 bytes, over the limit");
  });

  test("a text over the limit", async () => {
    await expect(read(fixture("zstd.parquet"), { maxDocumentBytes: 50 })).rejects.toThrow(
      /row 1: its text has \d+ bytes, over the limit of 50/,
    );
  });
});

const parquets = [
  ["redpajama_v2_fdedup_3.parquet", 32, { text: "contents", id: "id", language: "language", score: "perplexity" }],
  [
    "commoncrawl_quality_100.parquet",
    100,
    { text: "contents", id: "document_id", language: "ft_lang", score: "ft_score" },
  ],
  ["opentextbooks_400.parquet", 400, { text: "contents", id: "document_id", language: "lang", source: "dataset" }],
  ["webtext_lang_1.parquet", 100, { language: "lang", score: "e_lid_score" }],
] as const;
for (const [name, rows, fields] of parquets)
  testShared(`shared: ${name} has ${rows} documents with their fields`, [`data/text/${name}`], async () => {
    const documents = await read(sharedPath(`data/text/${name}`), { fields });
    expect(documents).toHaveLength(rows);
    expect(documents.every(({ language }) => /^[a-z]{2}(-[A-Z][a-z]+)?$/.test(language!))).toBe(true);
  });

test("an Arrow file with any one byte of it changed is read, or refused by name: nothing hangs or ends the process", async () => {
  const path = join(temporaryFolder(), "changed.arrow");
  for (const name of ["file.arrow", "zstd.arrow"]) {
    const bytes = readFileSync(fixture(name));
    let refused = 0;
    for (let at = 0; at < bytes.length; at += 3) {
      const changed = Buffer.from(bytes);
      changed[at] ^= at % 2 === 0 ? 0xff : 0x10;
      writeFileSync(path, changed);
      const report = createSourceReport();
      await read(path, { fields, onBadRecord: "skip", report }).catch((error) => {
        expect(error.message).toContain(path);
        refused++;
      });
      refused += report.bad > 0 ? 1 : 0;
    }
    expect(refused).toBeGreaterThan(100);
  }
});
