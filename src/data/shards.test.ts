// Oracle: the tokens and texts that went in; the byte layout stated at the head of shard-header.ts, read here with DataView.
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { sha256Of } from "../platform/hash.ts";
import { streamOfShards } from "./shard-stream.ts";
import { createShard, openShard } from "./shards.ts";

const hash = "a".repeat(64);

function shardOf(
  documents: readonly (readonly number[])[],
  vocabSize: number,
  path = join(temporaryFolder(), "a.bin"),
) {
  const writer = createShard(path, { vocabSize, endOfText: vocabSize - 1, tokenizerHash: hash });
  for (const document of documents) writer.add(document, document.length * 3);
  writer.finish();
  return path;
}

test.for([
  { vocabSize: 65536, bytesPerToken: 2 },
  { vocabSize: 65537, bytesPerToken: 4 },
  { vocabSize: 128256, bytesPerToken: 4 },
])(
  "tokens of a vocabulary of $vocabSize take $bytesPerToken bytes, and all come back",
  ({ vocabSize, bytesPerToken }) => {
    const document = fc.array(fc.integer({ min: 0, max: vocabSize - 2 }), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(fc.array(document, { minLength: 1, maxLength: 30 }), (documents) => {
        const shard = openShard(shardOf(documents, vocabSize));
        const expected = documents.flatMap((d) => [...d, vocabSize - 1]);
        expect(shard.header).toMatchObject({
          bytesPerToken,
          vocabSize,
          endOfText: vocabSize - 1,
          tokenizerHash: hash,
          tokenCount: expected.length,
          documentCount: documents.length,
          textBytes: 3 * documents.flat().length,
        });
        const tokens = new Int32Array(expected.length);
        shard.read(0, tokens);
        expect([...tokens]).toEqual(expected);
        for (const [i, d] of documents.entries()) expect([...shard.document(i)]).toEqual([...d, vocabSize - 1]);
        shard.verify();
        shard.close();
      }),
      { numRuns: 30, seed: 2 },
    );
  },
);

test("the bytes of a shard are as its file says", () => {
  const bytes = readFileSync(shardOf([[1, 2], [300]], 512));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  expect(bytes.subarray(0, 8).toString()).toBe("BNTSHARD");
  expect([view.getUint32(8, true), view.getUint32(12, true)]).toEqual([1, 2]);
  expect([16, 24, 32].map((at) => Number(view.getBigUint64(at, true)))).toEqual([5, 2, 9]);
  expect([view.getUint32(40, true), view.getUint32(44, true)]).toEqual([512, 511]);
  expect(bytes.subarray(56, 120).toString()).toBe(hash);
  expect(bytes.subarray(120, 152).toString("hex")).toBe(
    sha256Of(Buffer.concat([bytes.subarray(256), bytes.subarray(0, 120)])),
  );
  expect(bytes.subarray(152, 256).every((b) => b === 0)).toBe(true);
  expect([0, 1, 2, 3, 4].map((i) => view.getUint16(256 + 2 * i, true))).toEqual([1, 2, 511, 300, 511]);
  // 10 bytes of tokens, 6 of padding, two starts.
  expect([272, 280].map((at) => Number(view.getBigUint64(at, true)))).toEqual([0, 3]);
  expect(bytes.length).toBe(288);
});

test("long documents and many documents pass through the buffers whole", () => {
  const long = Array.from({ length: 200_000 }, (_, i) => i % 999);
  const documents = [long, ...Array.from({ length: 40_000 }, (_, i) => [i % 999])];
  const shard = openShard(shardOf(documents, 1000));
  expect(shard.document(0).join()).toBe([...long, 999].join());
  expect([...shard.document(39_999)]).toEqual([39_998 % 999, 999]);
  shard.verify();
  shard.close();
});

test.for([
  ["a token at the vocabulary's size", [5, 10], "gave token 10 at position 1 of a document; expected 0 to 9"],
  ["a negative token", [-1], "gave token -1"],
  ["no whole number", [1.5], "gave token 1.5"],
  ["undefined", [undefined as unknown as number], "gave token undefined"],
] as const)("the writer refuses %s", ([, tokens, message]) => {
  const folder = temporaryFolder();
  const writer = createShard(join(folder, "a.bin"), { vocabSize: 10, endOfText: 9, tokenizerHash: hash });
  expect(() => writer.add(tokens, 1)).toThrow(message);
  writer.abort();
  expect(readdirSync(folder)).toEqual([]);
});

function damaged(change: (bytes: Buffer) => void): string {
  const path = shardOf([[1, 2, 3], [4]], 512);
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
  return path;
}

test.for([
  ["another file", (b: Buffer) => b.write("PK"), "does not start with BNTSHARD"],
  ["a newer version", (b: Buffer) => b.writeUint32LE(3, 8), "version 3; this program reads versions 1 and 2"],
  ["an unknown token size", (b: Buffer) => b.writeUint32LE(3, 12), "claims 3 bytes a token"],
  ["more tokens than bytes", (b: Buffer) => b.writeUint32LE(9, 16), "need 296 bytes but the file has 288"],
  ["a count past all sense", (b: Buffer) => b.writeUint32LE(0xffffffff, 20), "its header claims"],
  ["an end-of-text outside the vocabulary", (b: Buffer) => b.writeUint32LE(512, 44), "outside its vocabulary of 512"],
] as const)("the reader refuses %s", ([, change, message]) => {
  expect(() => openShard(damaged(change))).toThrow(message);
});

test("the reader refuses a file that is cut short, at any length", () => {
  for (const length of [0, 7, 255, 256, 287]) {
    const path = shardOf([[1, 2, 3], [4]], 512);
    truncateSync(path, length);
    expect(() => openShard(path)).toThrow(/a header of 256;|is it cut short/);
  }
});

test("a damaged token, index or byte is found when it is read or verified", () => {
  const token = openShard(damaged((b) => b.writeUint16LE(600, 258)));
  expect(() => token.read(0, new Int32Array(2))).toThrow("token 1 is 600, outside the vocabulary of 512");
  const index = openShard(damaged((b) => b.writeUint32LE(99, 280)));
  expect(() => index.document(1)).toThrow("document 1 goes from token 99 to 6 of 6");
  const flipped = openShard(damaged((b) => (b[256] ^= 1)));
  expect(() => flipped.verify()).toThrow("the file is damaged, prepare the data again");
  // A count that fits into the padding does not show in the size.
  const counted = openShard(damaged((b) => b.writeUint32LE(7, 16)));
  expect(() => counted.verify()).toThrow("the file is damaged");
  for (const shard of [token, index, flipped, counted]) shard.close();
});

test("shards in a row read as one stream, across their borders", () => {
  const folder = temporaryFolder();
  const parts = [[[1, 2, 3]], [[4], [5, 6]], [[7, 8, 9, 10, 11]]];
  const shards = parts.map((documents, i) => openShard(shardOf(documents, 100, join(folder, `${i}.bin`))));
  const stream = streamOfShards(shards);
  const all = parts.flat().flatMap((d) => [...d, 99]);
  expect(stream).toMatchObject({
    tokenCount: all.length,
    documentCount: 4,
    vocabSize: 100,
    endOfText: 99,
    textBytes: 33,
  });
  for (let from = 0; from < all.length; from++)
    for (let to = from; to <= all.length; to++) {
      const target = new Int32Array(to - from);
      stream.read(from, target);
      expect([...target]).toEqual(all.slice(from, to));
    }
  expect(() => stream.read(all.length - 1, new Int32Array(2))).toThrow("asked of");
  stream.close();
});

test("shards of different tokenizers do not mix, and their content names the stream", () => {
  const a = openShard(shardOf([[1]], 100));
  const same = openShard(shardOf([[1]], 100));
  const other = openShard(shardOf([[1]], 101));
  expect(() => streamOfShards([a, other])).toThrow("was made with another tokenizer");
  expect(() => streamOfShards([])).toThrow("no token shards");
  expect(streamOfShards([a]).identity).toBe(streamOfShards([same]).identity);
  expect(streamOfShards([a]).identity).not.toBe(streamOfShards([openShard(shardOf([[2]], 100))]).identity);
});
