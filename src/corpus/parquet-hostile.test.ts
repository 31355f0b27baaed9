// Parquet files that sent the library into a loop without end, or into an error that nobody awaits (test/fixtures/hostile),
// and every byte of a small file changed. Oracle: the promise itself: each is read, or refused by name, and the next file is
// read as ever.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { readTaskRows } from "../eval/task-rows.ts";
import { DataError, FormatError } from "../platform/errors.ts";
import { createSourceReport } from "./records.ts";
import { readTextDocuments } from "./sources.ts";

const fixture = (name: string) => resolve(import.meta.dirname, "../../test/fixtures", name);

async function skipping(path: string) {
  const report = createSourceReport();
  let documents = 0;
  for await (const _ of readTextDocuments(path, { onBadRecord: "skip", report })) documents++;
  return { report, documents };
}

test("a schema without an end is refused in time, and nothing of it stays", { timeout: 60_000 }, async () => {
  const path = fixture("hostile/parquet-hang-524.parquet");
  const { report, documents } = await skipping(path);
  expect([documents, report.bad]).toEqual([0, 1]);
  expect(report.badRecords[0].reason).toMatch(/takes longer than 5 s|do not fit together/);
  const failing = async () => {
    for await (const _ of readTextDocuments(path));
  };
  await expect(failing()).rejects.toThrow(DataError);
  expect((await skipping(fixture("documents/snappy.parquet"))).documents).toBe(8);
});

test("a row group whose text is no text is lost alone; before, an error that nobody awaited ended the process", {
  timeout: 60_000,
}, async () => {
  const path = fixture("hostile/parquet-unhandled.parquet");
  expect(await skipping(path)).toMatchObject({ documents: 100, report: { bad: 20 } });
  await expect(readTaskRows(path)).rejects.toThrow(FormatError);
});

test("a Parquet file with a byte of its footer changed is read, or refused in words about the file", {
  timeout: 120_000,
}, async () => {
  const good = readFileSync(fixture("documents/none.parquet"));
  const path = join(temporaryFolder(), "damaged.parquet");
  // The footer, which says where all is, ends eight bytes before the end.
  const footer = good.readUInt32LE(good.length - 8);
  const step = Math.ceil(footer / 10);
  for (let at = good.length - 8 - footer; at < good.length - 4; at += step) {
    const bytes = Buffer.from(good);
    bytes[at] ^= 0x15;
    writeFileSync(path, bytes);
    const { report } = await skipping(path);
    for (const { reason } of report.badRecords) {
      expect(reason.length).toBeLessThan(400);
      expect(reason).not.toMatch(/undefined|is not a function|BigInt|call stack|\n/);
    }
  }
});
