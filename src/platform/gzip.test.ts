// Oracle: the text that was compressed. Of a damaged archive as much of it comes as gunzip -c gives (1.12, tried by hand).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { readChunks } from "./files.ts";
import { DamagedArchive } from "./gzip.ts";

const text = Buffer.from(Array.from({ length: 60_000 }, (_, i) => `line ${i} ${(i * i) % 977}\n`).join(""));
const whole = gzipSync(text);

async function read(bytes: Uint8Array): Promise<{ came: Buffer; error: unknown }> {
  const path = join(temporaryFolder(), "a.gz");
  writeFileSync(path, bytes);
  const parts: Uint8Array[] = [];
  try {
    for await (const chunk of readChunks(path, { gunzip: true })) parts.push(Uint8Array.from(chunk));
    return { came: Buffer.concat(parts), error: null };
  } catch (error) {
    return { came: Buffer.concat(parts), error };
  }
}
const changed = (at: number) => {
  const bytes = Uint8Array.from(whole);
  bytes[at < 0 ? bytes.length + at : at] ^= 0x55;
  return bytes;
};

test.for([
  ["a wrong checksum", changed(-8), "incorrect data check"],
  ["a wrong length", changed(-4), "incorrect length check"],
  ["bytes behind the end", Buffer.concat([whole, Buffer.from("rubbish")]), "other bytes stand behind the end"],
  [
    "a second member with a wrong checksum",
    Buffer.concat([gzipSync(text.subarray(0, 0)), changed(-8)]),
    "incorrect data check",
  ],
] as const)("%s: all of the text comes, then an error that tells its length", async ([, bytes, words]) => {
  const { came, error } = await read(bytes);
  expect(came.equals(text)).toBe(true);
  expect(error).toBeInstanceOf(DamagedArchive);
  expect((error as DamagedArchive).textIsWhole).toBe(true);
  expect((error as Error).message).toContain(words);
  expect((error as Error).message).toContain(`after ${text.length} decompressed bytes`);
});

test.for([
  ["damage in the middle", (at: number) => changed(at)],
  ["a cut", (at: number) => whole.subarray(0, at)],
] as const)("%s: the text before it comes", async ([, make]) => {
  for (const share of [0.3, 0.6, 0.95]) {
    const { came, error } = await read(make(Math.floor(whole.length * share)));
    expect(error).toBeInstanceOf(DamagedArchive);
    // A changed byte may read on as other text for a while, even to the end: what comes before it is the text's own.
    const own = Math.floor(text.length * (share - 0.03));
    expect(came.length).toBeGreaterThan(own);
    expect(came.subarray(0, own).equals(text.subarray(0, own))).toBe(true);
  }
});
