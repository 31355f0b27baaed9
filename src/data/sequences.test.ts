// Oracle: the pieces that went in, laid out by hand; the rules of targets at the head of sequences.ts.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createBatches, sequentialBatches } from "./batches.ts";
import { sequencesOf } from "./sequences.ts";
import { streamOfShards } from "./shard-stream.ts";
import { createShard, openShard, type ShardWriter } from "./shards.ts";
import { streamOfTokens } from "./token-stream.ts";

const end = 99;
const about = { vocabSize: 100, endOfText: end, tokenizerHash: "h" };

function shardWith(packing: { bestFit: boolean; scores?: boolean }, fill: (writer: ShardWriter) => void) {
  const path = join(temporaryFolder(), "a.bin");
  const writer = createShard(path, { ...about, packing: { sequence: 4, scores: false, ...packing } });
  fill(writer);
  writer.finish();
  return path;
}

/** Two documents in a sequence; a document of six tokens cut into four and two, the rest filled up. */
const fitted = () =>
  shardWith({ bestFit: true, scores: true }, (writer) => {
    writer.addPiece([1, end], { document: 0, at: 0, textBytes: 5, score: 3.5 });
    writer.addPiece([2, end], { document: 1, at: 0, textBytes: 6 });
    writer.endSequence();
    writer.addPiece([3, 4, 5, 6], { document: 2, at: 0, textBytes: 7, score: 1 });
    writer.endSequence();
    writer.addPiece([7, end], { document: 2, at: 4, textBytes: 7, score: 1 });
    writer.endSequence();
  });

test("a header that claims more documents than pieces is refused before anything is made for them", () => {
  for (const claimed of [5, 2 ** 28, 2 ** 40]) {
    const path = fitted();
    const bytes = readFileSync(path);
    bytes.writeBigUInt64LE(BigInt(claimed), 24);
    writeFileSync(path, bytes);
    expect(() => openShard(path)).toThrow(`its header claims ${claimed} documents in 4 pieces; prepare the data again`);
  }
});

test("fitted sequences come back with their pieces, and have targets only within them", () => {
  const shard = openShard(fitted());
  shard.verify();
  expect(shard.header).toMatchObject({
    version: 2,
    tokenCount: 12,
    documentCount: 3,
    textBytes: 18,
    packing: { sequence: 4, bestFit: true, scores: true, pieces: 4 },
  });
  expect([...shard.pieces()]).toEqual([
    { start: 0, length: 2, document: 0, at: 0, score: 3.5 },
    { start: 2, length: 2, document: 1, at: 0, score: Number.NaN },
    { start: 4, length: 4, document: 2, at: 0, score: 1 },
    { start: 8, length: 2, document: 2, at: 4, score: 1 },
  ]);
  expect([...shard.documentLengths()]).toEqual([2, 2, 6]);
  expect([0, 1, 2].map((i) => [...shard.document(i)])).toEqual([
    [1, end],
    [2, end],
    [3, 4, 5, 6, 7, end],
  ]);
  const stream = streamOfShards([shard, openShard(fitted())]);
  const reader = sequencesOf(stream, 4);
  expect(reader.count).toBe(6);
  const rows = Array.from({ length: 6 }, (_, i) => {
    const [tokens, targets] = [new Int32Array(4), new Int32Array(4)];
    reader.read(i, tokens, targets);
    return [[...tokens], [...targets]];
  });
  expect(rows.slice(3)).toEqual(rows.slice(0, 3));
  expect(rows.slice(0, 3)).toEqual([
    [
      [1, end, 2, end],
      [end, 2, end, -100],
    ],
    [
      [3, 4, 5, 6],
      [4, 5, 6, -100],
    ],
    [
      [7, end, end, end],
      [end, -100, -100, -100],
    ],
  ]);
  const { tokens_BT, targets_BT, documentStart_BT } = createBatches({
    tokens: stream,
    batch: 3,
    sequence: 4,
    seed: 1,
    shuffle: false,
    documentStarts: true,
  }).next();
  expect([...tokens_BT]).toEqual(rows.slice(0, 3).flatMap(([tokens]) => tokens));
  expect([...targets_BT]).toEqual(rows.slice(0, 3).flatMap(([, targets]) => targets));
  // A document sees the end-of-text token before it, and nothing before that.
  expect([...documentStart_BT!]).toEqual([0, 1, 1, 3, 0, 0, 0, 0, 0, 1, 2, 3]);
  expect(() => sequencesOf(stream, 8)).toThrow("packed into sequences of 4 tokens, and 8 are asked for");
  expect(() => sequentialBatches({ tokens: stream, batch: 1, sequence: 4 })).toThrow("evaluate on a validation split");
  stream.close();
});

test("documents that go over the border of two shards are one stream, and each shard knows its part", () => {
  const first = shardWith({ bestFit: false }, (writer) => {
    writer.addPiece([1, 2, end], { document: 0, at: 0, textBytes: 2 });
    writer.addPiece([3], { document: 1, at: 0, textBytes: 4 });
  });
  const second = shardWith({ bestFit: false }, (writer) => {
    writer.addPiece([4, 5, end], { document: 0, at: 1, textBytes: 4 });
    writer.addPiece([6, end], { document: 1, at: 0, textBytes: 1 });
  });
  const shards = [openShard(first), openShard(second)];
  const stream = streamOfShards(shards);
  expect(stream).toMatchObject({ tokenCount: 9, documentCount: 3, textBytes: 7 });
  expect(stream.fitted).toBeUndefined();
  expect(shards.map((shard) => [...shard.documentLengths()])).toEqual([[3, 1], [2]]);
  expect([...shards[0].document(1)]).toEqual([3]);
  expect([...shards[1].document(0)]).toEqual([6, end]);
  // The same as the tokens in memory, for any length.
  const same = streamOfTokens([1, 2, end, 3, 4, 5, end, 6, end], about);
  for (const length of [1, 2, 3, 4, 8]) {
    const [a, b] = [sequencesOf(stream, length), sequencesOf(same, length)];
    expect(a.count).toBe(b.count);
    for (let i = 0; i < a.count; i++) {
      const [x, y, u, v] = Array.from({ length: 4 }, () => new Int32Array(length));
      a.read(i, x, y);
      b.read(i, u, v);
      expect([x, y]).toEqual([u, v]);
    }
  }
  expect(() => sequencesOf(stream, 9)).toThrow("needs 10 tokens of text, but the data have 9");
  stream.close();
});

test("packings do not mix, and a damaged index is found", () => {
  const whole = shardWith({ bestFit: false }, (writer) =>
    writer.addPiece([1, 2, 3, end], { document: 0, at: 0, textBytes: 2 }),
  );
  expect(() => streamOfShards([openShard(fitted()), openShard(whole)])).toThrow("was packed in another way");
  const damaged = (change: (bytes: Buffer) => void) => {
    const path = fitted();
    const bytes = readFileSync(path);
    change(bytes);
    writeFileSync(path, bytes);
    return path;
  };
  // 24 bytes of tokens, 4 entries of 16 bytes, then the used parts of three sequences.
  const used = 256 + 24 + 64;
  expect(() => openShard(damaged((b) => b.writeUint32LE(5, used))).usedOf(0)).toThrow("sequence 0 has 5 tokens of 4");
  expect(() => [...openShard(damaged((b) => b.writeUint32LE(99, 256 + 24 + 16))).pieces()]).toThrow("file is damaged");
  expect(() => openShard(damaged((b) => b.writeUint32LE(5, 152)))).toThrow("no whole sequences of 5");
  expect(() => openShard(damaged((b) => b.writeUint32LE(7, 156)))).toThrow("flags 7");
  expect(() => openShard(damaged((b) => b.writeUint32LE(9, 160)))).toThrow("9 pieces need");
  expect(() => openShard(damaged((b) => (b[b.length - 1] ^= 1))).verify()).toThrow("the file is damaged");
});
