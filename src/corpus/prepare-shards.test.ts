// Oracle: the documents written here and an encoder whose ids are the UTF-8 bytes, so that what lies in the shards can be
// turned back into text; packing is counted again from the lengths. TinyStories' counts: ../shared/data/README.md.
import * as fs from "node:fs";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test, vi } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { UsageError } from "../platform/errors.ts";
import { openShards, openTokens, readManifest, type SplitName } from "../data/dataset.ts";
import { lengthFilter } from "./filters/spec.ts";
import { defineFilter } from "./pipeline.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { readPrepareReport } from "./prepare-report.ts";
import type { PrepareShardsOptions } from "./prepare-context.ts";
import { prepareShards } from "./prepare-shards.ts";
import { openSplit } from "../data/prepared-split.ts";
import { isValidationDocument } from "../data/split.ts";

vi.mock("node:fs", async (original) => {
  const actual = await original<typeof import("node:fs")>();
  return { ...actual, writeSync: vi.fn(actual.writeSync) };
});

const bytes: DocumentEncoder = {
  vocabSize: 257,
  endOfText: 256,
  hash: "bytes",
  encode: (text) => new TextEncoder().encode(text),
};

const stories = Array.from({ length: 400 }, (_, i) => `Story ${i}: ${"und so weiter … ".repeat(i % 7)}.`);

/** The stories over three files, in a folder of their own. */
function setup(documents: readonly string[] = stories) {
  const folder = temporaryFolder();
  const text = join(folder, "text");
  mkdirSync(text);
  const parts = [documents.slice(0, 100), documents.slice(100, 110), documents.slice(110)];
  const files = parts.map((part, i) => {
    const file = join(text, `part-${i}.txt.gz`);
    writeFileSync(file, gzipSync(part.join("\n<|endoftext|>\n")));
    return file;
  });
  const prepare = (options: Partial<PrepareShardsOptions> = {}) =>
    prepareShards({
      inputs: files.map((path, i) => ({ name: `part-${i}`, paths: [path] })),
      tokenizer: bytes,
      outDir: join(folder, "set"),
      // Small, so that a file is several blocks and a split several buckets.
      blockCharacters: 6000,
      bucketTokens: 4000,
      ...options,
    });
  return { folder, files, prepare, set: join(folder, "set") };
}

function textsOf(folder: string, split: SplitName = "train"): string[] {
  const { tokens, close } = openSplit(folder, split);
  const all = new Int32Array(tokens.tokenCount);
  tokens.read(0, all);
  close();
  const texts: string[] = [];
  let start = 0;
  for (const [i, token] of all.entries())
    if (token === 256) {
      if (i > start) texts.push(Buffer.from(all.subarray(start, i)).toString());
      start = i + 1;
    }
  return texts;
}

const sorted = (texts: readonly string[]) => [...texts].sort();
/** Every file of a dataset. */
const bytesOf = (folder: string) =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("latin1")]));
const shardBytes = (folder: string) =>
  Object.fromEntries(Object.entries(bytesOf(folder)).filter(([name]) => name.endsWith(".bin")));

test("documents as they are come back in the order of their sources, and nothing else is left", async () => {
  const { folder, prepare, set } = setup();
  const { manifest } = await prepare();
  expect(textsOf(set)).toEqual(stories);
  const textBytes = Buffer.byteLength(stories.join(""));
  expect(manifest?.splits.train).toMatchObject({ documents: 400, textBytes, tokens: textBytes + 400 });
  expect(manifest).toEqual(readManifest(set));
  expect(readdirSync(folder).sort()).toEqual(["set", "text"]);
  expect((await prepare()).reused).toBe(true);
});

test("shuffled, the shards are the same for any order of sources, any spread over files, blocks and buckets", async () => {
  const { folder, files, prepare, set } = setup();
  const how = { shuffle: 7, packing: { kind: "concatenate", sequence: 32 }, shardTokens: 4096 } as const;
  await prepare(how);
  expect(textsOf(set)).not.toEqual(stories);
  expect(sorted(textsOf(set))).toEqual(sorted(stories));
  const again = async (options: Partial<PrepareShardsOptions>) => {
    const { folder: other } = await prepare({ ...how, outDir: join(folder, `set-${Math.random()}`), ...options });
    return shardBytes(other);
  };
  const first = shardBytes(set);
  expect(Object.keys(first).length).toBeGreaterThan(5);
  const inputs = files.map((path, i) => ({ name: `part-${i}`, paths: [path] }));
  expect(await again({ inputs: [inputs[2], inputs[0], inputs[1]] })).toEqual(first);
  expect(await again({ inputs: [{ name: "all", paths: [files[2], files[0], files[1]] }] })).toEqual(first);
  expect(await again({ blockCharacters: 20_000, bucketTokens: 2 ** 24 })).toEqual(first);
  const encodeMany = async (texts: string[]) => texts.map((text) => bytes.encode(text));
  expect(await again({ tokenizer: { ...bytes, encodeMany } })).toEqual(first);
  const backwards = join(folder, "backwards.jsonl");
  writeFileSync(
    backwards,
    stories
      .toReversed()
      .map((text) => `${JSON.stringify({ text })}\n`)
      .join(""),
  );
  expect(await again({ inputs: [{ name: "one", paths: [backwards] }] })).toEqual(first);
  expect(await again({ shuffle: 8 })).not.toEqual(first);
});

test("concatenated, every shard but the last holds exactly its tokens, and sequences go over their borders", async () => {
  const { prepare, set } = setup();
  const { manifest } = await prepare({ packing: { kind: "concatenate", sequence: 64 }, shardTokens: 1000 });
  const { shards, tokens, packing } = manifest!.splits.train;
  // 960 is the most whole sequences of 64 in 1000.
  for (const shard of shards.slice(0, -1)) expect(shard.tokens).toBe(960);
  expect(shards.reduce((sum, shard) => sum + shard.documents, 0)).toBe(400);
  expect(textsOf(set)).toEqual(stories);
  let at = 0;
  let cut = 0;
  let overLength = 0;
  for (const text of stories) {
    const length = Buffer.byteLength(text) + 1;
    if (Math.floor(at / 64) !== Math.floor((at + length - 1) / 64)) cut++;
    if (length > 64) overLength++;
    at += length;
  }
  expect(packing).toEqual({ sequences: Math.floor(tokens / 64), padding: 0, cut, overLength });
  const opened = openSplit(set);
  opened.verify();
  const reader = opened.sequences(64);
  const [x, y] = [new Int32Array(64), new Int32Array(64)];
  const whole = new Int32Array(opened.tokens.tokenCount);
  opened.tokens.read(0, whole);
  for (let i = 0; i < reader.count; i++) {
    reader.read(i, x, y);
    expect([x, y]).toEqual([whole.slice(64 * i, 64 * i + 64), whole.slice(64 * i + 1, 64 * i + 65)]);
  }
  expect(opened.shards.map((_, k) => opened.sequencesIn(k, 64)).at(-1)?.to).toBe(reader.count);
  opened.close();
});

test("best-fit packing cuts only documents over the length, and says how much it fills up", async () => {
  const { prepare, set } = setup();
  const { manifest } = await prepare({ packing: { kind: "best-fit", sequence: 64 }, shardTokens: 4000, shuffle: 1 });
  const { tokens, packing, documents } = manifest!.splits.train;
  const lengths = stories.map((text) => Buffer.byteLength(text) + 1);
  const text = lengths.reduce((sum, length) => sum + length, 0);
  const long = lengths.filter((length) => length > 64).length;
  expect(documents).toBe(400);
  expect(packing).toEqual({ sequences: tokens / 64, padding: tokens - text, cut: long, overLength: long });
  // Each document comes back from its pieces, and of those that fit no piece lies apart.
  const found: string[] = [];
  const shards = openShards(set, "train");
  expect(shards.length).toBeGreaterThan(3);
  for (const shard of shards) {
    shard.verify();
    const pieces = [...shard.pieces()];
    for (let i = 0; i < shard.header.documentCount; i++) {
      const document = shard.document(i);
      found.push(Buffer.from(document.subarray(0, -1)).toString());
      if (document.length <= 64) expect(pieces.filter((piece) => piece.document === i)).toHaveLength(1);
    }
    for (const { start, length } of pieces) expect((start % 64) + length).toBeLessThanOrEqual(64);
    expect(sorted([...shard.documentLengths()].map(String))).toEqual(
      sorted(found.slice(-shard.header.documentCount).map((text) => String(Buffer.byteLength(text) + 1))),
    );
    shard.close();
  }
  expect(sorted(found)).toEqual(sorted(stories));
});

test("a validation share is held out by text, whatever the order, and its sequences are never filled up", async () => {
  const { prepare, set } = setup();
  const { manifest } = await prepare({ validFraction: 0.2, shuffle: 3, packing: { kind: "best-fit", sequence: 64 } });
  expect(sorted(textsOf(set, "valid"))).toEqual(sorted(stories.filter((text) => isValidationDocument(text, 0.2))));
  expect(openTokens(set, "valid").fitted).toBeUndefined();
  expect(manifest?.splits.valid?.packing?.padding).toBe(0);
  expect(manifest!.splits.valid!.documents + manifest!.splits.train.documents).toBe(400);
});

test("so many shards as asked for, or no more than that, with what is left over counted", async () => {
  const { folder, prepare } = setup();
  const packing = { kind: "concatenate", sequence: 16 } as const;
  const { manifest } = await prepare({ shardCount: 8, packing });
  expect(manifest?.splits.train.shards).toHaveLength(8);
  const most = await prepare({ shardTokens: 1600, maxShards: 3, shuffle: 1, outDir: join(folder, "some") });
  expect(most.manifest?.splits.train.shards).toHaveLength(3);
  const { train, leftOver, read } = most.manifest!.counts!;
  expect(leftOver).toBeGreaterThan(100);
  expect(train + leftOver).toBe(read);
  expect(textsOf(most.folder)).toHaveLength(train);
});

test("every document is accounted for: filters of one source and of all, duplicates, held-out text, blank and bad ones", async () => {
  const folder = temporaryFolder();
  const sentence = (i: number) =>
    `This is document number ${i} of a small corpus, and word ${i * 7} is what tells it from all the others around it.`;
  const evaluation = "Which of the seven rivers of the old kingdom runs from the cold lakes down to the southern sea?";
  const rows = [
    ...Array.from({ length: 40 }, (_, i) => ({ text: sentence(i), score: i / 10 })),
    { text: sentence(3), score: 4 },
    { text: sentence(5).toUpperCase(), score: 4 },
    { text: `${sentence(99)} ${evaluation} ${sentence(98)}`, score: 5 },
    { text: "  ", score: 5 },
    { text: "short", score: 5 },
  ];
  const scored = join(folder, "scored.jsonl");
  writeFileSync(scored, `${rows.map((row) => JSON.stringify(row)).join("\n")}\n{"text": "cut`);
  const plain = join(folder, "plain.txt");
  writeFileSync(plain, [sentence(10), sentence(200), sentence(201)].join("<|endoftext|>"));
  const held = join(folder, "held.txt");
  writeFileSync(held, evaluation);
  const atLeast = defineFilter("least", { least: 0.5 }, (document) =>
    (document.score ?? 0) >= 0.5 ? document : { drop: "low" },
  );
  const { manifest } = await prepareShards({
    inputs: [
      { name: "plain", paths: [plain], licence: "CC0-1.0" },
      {
        name: "scored",
        paths: [scored],
        licence: "MIT",
        read: { fields: { score: "score" }, onBadRecord: "skip" },
        stages: [atLeast],
      },
    ],
    tokenizer: bytes,
    outDir: join(folder, "set"),
    stages: [lengthFilter({ minWords: 5 })],
    dedup: { near: false },
    heldOut: [{ name: "exam", paths: [held] }],
    packing: { kind: "best-fit", sequence: 128 },
    threads: 0,
  });
  expect(manifest?.counts).toEqual({
    read: 47,
    bad: 1,
    blank: 1,
    filtered: { "scored/least: low": 5, "length: too-few-words": 1 },
    emptied: 0,
    // sentence(10) is in both files; of sentence(3) only the copy passed the filter; case does not tell texts apart.
    duplicates: { exact: 2, near: 0, contaminated: 1 },
    leftOver: 0,
    train: 38,
    valid: 0,
  });
  expect(manifest?.sources).toMatchObject([
    { name: plain, source: "plain", licence: "CC0-1.0", documents: 3 },
    { name: scored, source: "scored", licence: "MIT", documents: 44 },
  ]);
  const report = readPrepareReport(join(folder, "set"));
  expect(report?.dedup).toMatchObject({ documents: 41, kept: 38 });
  expect(report?.dedup?.sources.map(({ name }) => name)).toEqual([plain, scored]);
  expect(report?.sources).toMatchObject({ files: 2, documents: 47, bad: 1 });
  const [shard] = openShards(join(folder, "set"), "train");
  const scores = [...shard.pieces()].map(({ score }) => score);
  shard.close();
  expect(scores.filter(Number.isNaN)).toHaveLength(2 + 1); // plain.txt's, of which one stays, has none
});

test("a limit reads so many documents of a source, or until so much text is left", async () => {
  const { folder, files, prepare } = setup();
  const read = async (limit: { documents?: number; textBytes?: number }, n: number) => {
    const inputs = [{ name: "all", paths: files, limit }];
    const { folder: out, manifest } = await prepare({
      inputs,
      outDir: join(folder, `limit-${n}`),
      dedup: n > 2 ? { near: false } : null,
    });
    expect(manifest?.counts?.read).toBe(manifest?.counts?.train);
    return textsOf(out);
  };
  expect(await read({ documents: 105 }, 1)).toEqual(stories.slice(0, 105));
  const within = Buffer.byteLength(stories.slice(0, 104).join("")) + 1;
  expect(await read({ textBytes: within }, 2)).toEqual(stories.slice(0, 105));
  expect(await read({ textBytes: within }, 3)).toEqual(stories.slice(0, 105));
});

test("ended at any moment and started again, it goes on, encodes nothing twice, and gives the same bytes", async () => {
  const { folder, prepare, set } = setup([...stories, ...stories.slice(0, 30)]);
  const how: Partial<PrepareShardsOptions> = {
    validFraction: 0.1,
    shuffle: 5,
    packing: { kind: "best-fit", sequence: 64 },
    shardTokens: 3000,
    threads: 0,
  };
  for (const dedup of [null, { near: false }]) {
    const whole = join(folder, `whole-${dedup === null}`);
    let encoded = 0;
    const encode = (text: string) => {
      encoded++;
      return bytes.encode(text);
    };
    const tokenizer = { ...bytes, encode };
    await prepare({ ...how, dedup, outDir: whole, tokenizer });
    const all = encoded;
    const seen = new Set<string>();
    let ends = 0;
    // A later moment each time, so that all of them are met although what is done is passed over.
    for (let moment = 1; ; moment++) {
      let reports = 0;
      const controller = new AbortController();
      const outcome = await prepare({
        ...how,
        dedup,
        tokenizer,
        signal: controller.signal,
        onProgress: ({ stage }) => {
          if (++reports < moment * 2) return;
          seen.add(stage);
          controller.abort(new Error("stopped"));
        },
      }).catch((error: Error) => error.message);
      if (outcome !== "stopped") break;
      ends++;
      expect(existsSync(set)).toBe(false);
    }
    expect(ends).toBeGreaterThan(5);
    expect(seen).toContain("encode");
    if (dedup) expect(seen).toContain("text");
    // A block that was under way may be encoded again.
    expect(encoded - all).toBeLessThan(all * 2);
    expect(bytesOf(set)).toEqual(bytesOf(whole));
    renameSync(set, join(folder, `done-${dedup === null}`));
  }
});

test("an unfinished run goes on only with what it was begun with, or is thrown away when asked", async () => {
  const { files, prepare, set } = setup();
  const stop = async (options: Partial<PrepareShardsOptions> = {}) => {
    const controller = new AbortController();
    // Behind "encode" there are finished parts, without which nothing would be lost by starting anew.
    const onProgress = ({ stage }: { stage: string }) => stage === "shards" && controller.abort(new Error("stopped"));
    await expect(prepare({ ...options, signal: controller.signal, onProgress })).rejects.toThrow("stopped");
  };
  await stop({ validFraction: 0.1 });
  await expect(prepare({ validFraction: 0.2 })).rejects.toThrow(
    `${set}.work: holds an unfinished preparation with other validFraction (0.1, now 0.2); finish that one with what it was begun with, or start anew with --restart`,
  );
  await expect(prepare({ tokenizer: { ...bytes, hash: "other" } })).rejects.toThrow('tokenizer ("bytes", now "other")');
  writeFileSync(files[1], gzipSync("something else"));
  await expect(prepare({ validFraction: 0.1 })).rejects.toThrow("with other sources;");
  const { manifest } = await prepare({ restart: true });
  expect(manifest?.splits.train.documents).toBe(391);
  expect(existsSync(`${set}.work`)).toBe(false);
});

test("a full disk is named wherever it is met, loses nothing that is finished, and the next run gives the same bytes", async () => {
  const { folder, prepare, set } = setup();
  const how: Partial<PrepareShardsOptions> = { shuffle: 2, shardTokens: 8000, validFraction: 0.1 };
  const actual = await vi.importActual<typeof fs>("node:fs");
  await prepare({ ...how, outDir: join(folder, "whole") });
  let failures = 0;
  for (let room = 2; ; room += 9) {
    let writes = 0;
    vi.mocked(fs.writeSync).mockImplementation(((...args: Parameters<typeof fs.writeSync>) => {
      if (++writes > room) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
      return actual.writeSync(...args);
    }) as typeof fs.writeSync);
    const outcome = await prepare(how).catch((error: Error) => error);
    vi.mocked(fs.writeSync).mockImplementation(actual.writeSync);
    if (!(outcome instanceof Error)) break;
    failures++;
    expect(outcome.message).toMatch(/set\.work.*: cannot write: the disk is full; free some space and run it again/);
    expect(existsSync(set)).toBe(false);
  }
  expect(failures).toBeGreaterThan(3);
  expect(bytesOf(set)).toEqual(bytesOf(join(folder, "whole")));
});

test("stages one at a time, over several machines' shares, give the same bytes; what is missing is named", async () => {
  const { folder, prepare, set } = setup([...stories, ...stories.slice(0, 30)]);
  const how: Partial<PrepareShardsOptions> = { dedup: { near: false }, shuffle: 1, shardTokens: 4000, threads: 0 };
  const whole = join(folder, "whole");
  await prepare({ ...how, outDir: whole });
  const run = async (stage: PrepareShardsOptions["stage"], count?: number) => {
    for (let index = 0; index < (count ?? 1); index++)
      await prepare({ ...how, stage, ...(count ? { share: { index, count } } : {}) });
  };
  await expect(run("encode")).rejects.toThrow("the text of 3 of 3 files is not there");
  await run("text", 2);
  await run("signatures", 2);
  await run("candidates");
  await run("clusters");
  await expect(run("encode")).rejects.toThrow("run the stages of deduplication first");
  await run("drops", 2);
  await expect(run("shards")).rejects.toThrow('run the stage "encode" first');
  await run("encode", 3);
  await expect(run("finish")).rejects.toThrow('run the stage "shards" first');
  await run("shards", 2);
  await run("finish");
  expect(shardBytes(set)).toEqual(shardBytes(whole));
  expect(readManifest(set)).toEqual(readManifest(whole));
  // With the texts of every pair, whichever machine read them.
  const report = readPrepareReport(set)!;
  expect(report).toEqual(readPrepareReport(whole));
  expect(report.dedup!.pairs.flatMap(({ dropped, other }) => [dropped.text, other.text])).not.toContain("");
  expect(report.dedup!.pairs.length).toBeGreaterThan(0);
});

test("bad input keeps what is finished; a folder of something else is not touched; contradictions are refused", async () => {
  const { folder, files, prepare, set } = setup();
  const whole = readFileSync(files[2]);
  writeFileSync(files[2], whole.subarray(0, whole.length - 100));
  await expect(prepare()).rejects.toThrow("the gzip stream is cut short");
  expect(existsSync(set)).toBe(false);
  await expect(prepare({ tokenizer: { ...bytes, encode: () => [257] }, restart: true })).rejects.toThrow(
    "gave token 257 at position 0",
  );
  const mine = join(folder, "mine");
  mkdirSync(mine);
  writeFileSync(join(mine, "thesis.txt"), "years of work");
  await expect(prepare({ outDir: mine })).rejects.toThrow("exists and was not written by this command");
  expect(readdirSync(mine)).toEqual(["thesis.txt"]);
  await expect(prepare({ workDir: mine })).rejects.toThrow("holds no unfinished preparation; move it away");
  await expect(prepare({ outDir: "/proc/none/set" })).rejects.toThrow("/proc/none");
  await expect(prepare({ validFraction: 1 })).rejects.toThrow("the validation fraction is 1");
  await expect(prepare({ shardTokens: 5, packing: { kind: "best-fit", sequence: 9 } })).rejects.toThrow(
    "a shard of 5 tokens holds no sequence of 9",
  );
  await expect(prepare({ shardTokens: 5, shardCount: 5 })).rejects.toThrow("not both");
  await expect(prepare({ heldOut: [{ name: "x", paths: [files[0]] }] })).rejects.toThrow("ask for that too");
  await expect(prepare({ share: { index: 0, count: 2 } })).rejects.toThrow("name the stage too");
  const seen = { name: "seen", options: {}, run: async function* () {} };
  await expect(prepare({ stages: [seen] })).rejects.toThrow('the stage "seen" looks at several documents');
  await expect(prepare({ inputs: [] })).rejects.toThrow("name at least one text file");
});

testShared(
  "shared: TinyStories in 8 shards of fitted sequences holds all 19,605 stories, a hundredth of them held out",
  ["data/tinystories/train.txt.gz"],
  async () => {
    const { prepare, set } = setup();
    const { manifest } = await prepare({
      inputs: [{ name: "tinystories", paths: [sharedPath("data/tinystories/train.txt.gz")] }],
      packing: { kind: "best-fit", sequence: 1024 },
      shardCount: 8,
      shuffle: 1,
      validFraction: 0.01,
      blockCharacters: undefined,
      bucketTokens: undefined,
    });
    const { train, valid } = manifest!.splits;
    expect(train.shards).toHaveLength(8);
    expect(train.documents + valid!.documents).toBe(19605);
    expect(train.textBytes + valid!.textBytes).toBe(16226033 - 15 * 19605);
    const { sequences, padding, cut, overLength } = train.packing!;
    expect(sequences * 1024).toBe(train.textBytes + train.documents + padding);
    expect(cut).toBe(overLength);
    const opened = openSplit(set);
    opened.verify();
    expect(opened.sequences(1024).count).toBe(sequences);
    opened.close();
  },
);

test("a second preparation of one output is refused by name while the first is at work, which ends as it would have", async () => {
  const { prepare, set, folder } = setup();
  const left = setup();
  await left.prepare();
  let second: Promise<unknown> | undefined;
  await prepare({
    onProgress({ stage }) {
      if (stage === "encode") second ??= prepare({ restart: true }).catch((error) => error);
    },
  });
  expect(await second).toBeInstanceOf(UsageError);
  expect(String(await second)).toMatch(/another process is at work in .*set \(process \d+, since /);
  expect(readdirSync(set)).toEqual(readdirSync(left.set));
  // The manifest names the folders of the files, which differ.
  for (const name of readdirSync(set).filter((one) => one.endsWith(".bin")))
    expect(readFileSync(join(set, name)).equals(readFileSync(join(left.set, name))), name).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(["set", "text"]);
  expect(await prepare()).toMatchObject({ reused: true });
});
