// Oracle: the documents written here and an encoder whose ids are the UTF-8 bytes, so that what lies in the shards can
// be turned back into text. TinyStories' counts: ../shared/data/README.md.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { openShards, openTokens, readManifest, type SplitName } from "../data/dataset.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { type PrepareOptions, prepareTokens } from "./prepare.ts";
import { isValidationDocument } from "../data/split.ts";

const bytes: DocumentEncoder = {
  vocabSize: 257,
  endOfText: 256,
  hash: "bytes",
  encode: (text) => new TextEncoder().encode(text),
};

/** The same ids, counted, and given late and out of step as worker threads do. */
function asynchronous() {
  const calls: number[] = [];
  const tokenizer: DocumentEncoder = {
    ...bytes,
    async encodeMany(texts) {
      calls.push(texts.length);
      await new Promise((resolve) => setTimeout(resolve, calls.length % 2 === 0 ? 0 : 5));
      return texts.map((text) => bytes.encode(text));
    },
  };
  return { tokenizer, calls };
}

function textsOf(folder: string, split: SplitName): string[] {
  return openShards(folder, split).flatMap((shard) => {
    const texts = Array.from({ length: shard.header.documentCount }, (_, i) => {
      const tokens = shard.document(i);
      expect(tokens.at(-1)).toBe(256);
      return Buffer.from(tokens.subarray(0, -1)).toString();
    });
    shard.close();
    return texts;
  });
}

const stories = Array.from({ length: 400 }, (_, i) => `Story ${i}: ${"und so weiter … ".repeat(i % 7)}`);

function setup(documents: readonly string[] = stories) {
  const folder = temporaryFolder();
  const file = join(folder, "stories.txt");
  writeFileSync(file, documents.join("\n<|endoftext|>\n"));
  const prepare = (options: Partial<PrepareOptions> = {}) =>
    prepareTokens({
      sources: [file],
      tokenizer: bytes,
      ...(options.cacheDir ? {} : { outDir: join(folder, "set") }),
      ...options,
    });
  return { folder, file, prepare };
}

test("every document comes back from the shards, in order, ending in the end-of-text token", async () => {
  const { prepare } = setup();
  const { folder, manifest, reused } = await prepare();
  expect(reused).toBe(false);
  expect(textsOf(folder, "train")).toEqual(stories);
  const textBytes = Buffer.byteLength(stories.join(""));
  expect(manifest.splits).toEqual({
    train: expect.objectContaining({ documents: 400, textBytes, tokens: textBytes + 400 }),
  });
  expect(manifest).toEqual(readManifest(folder));
  const stream = openTokens(folder);
  expect(stream).toMatchObject({ documentCount: 400, textBytes, tokenCount: textBytes + 400, endOfText: 256 });
  stream.close();
  expect(() => openTokens(folder, "valid")).toThrow("was prepared without a valid split");
});

test("the manifest accounts for every document; one of version 0.1, which did not, opens as before", async () => {
  const { prepare } = setup();
  const { folder, manifest } = await prepare({ validFraction: 0.2 });
  const { train, valid } = manifest.splits;
  expect(manifest.counts).toEqual({
    read: 400,
    bad: 0,
    blank: 0,
    filtered: {},
    emptied: 0,
    duplicates: {},
    leftOver: 0,
    train: train.documents,
    valid: valid!.documents,
  });
  const { key, format, version, tokenizer, options, splits } = manifest;
  const sources = manifest.sources.map(({ name, split, hash }) => ({ name, split, hash }));
  const before = { format, version, key, tokenizer, sources, options, splits };
  writeFileSync(join(folder, "dataset.json"), JSON.stringify(before));
  expect(readManifest(folder)).toEqual(before);
  expect(await prepare({ validFraction: 0.2 })).toEqual({ folder, manifest: before, reused: true });
  expect(textsOf(folder, "valid")).toEqual(stories.filter((text) => isValidationDocument(text, 0.2)));
});

test("shards are closed at document ends past their size, and read as one", async () => {
  const { prepare } = setup();
  const { folder, manifest } = await prepare({ shardTokens: 5000 });
  const { shards } = manifest.splits.train;
  expect(shards.length).toBeGreaterThan(4);
  for (const shard of shards.slice(0, -1)) expect(shard.tokens).toBeGreaterThanOrEqual(5000);
  // Counted by hand: tokens are the bytes of a story and one more, and a shard ends with the story that reaches 5000.
  const expected: number[] = [];
  let tokens = 0;
  for (const story of stories) {
    tokens += Buffer.byteLength(story) + 1;
    if (tokens < 5000) continue;
    expected.push(tokens);
    tokens = 0;
  }
  expect(shards.map((shard) => shard.tokens)).toEqual(tokens > 0 ? [...expected, tokens] : expected);
  expect(textsOf(folder, "train")).toEqual(stories);
});

test("an encoder over threads gives the same shards, byte for byte, in several groups", async () => {
  const long = stories.map((story) => story.repeat(120));
  const plain = setup(long);
  const { tokenizer, calls } = asynchronous();
  await plain.prepare();
  const { folder } = await plain.prepare({ outDir: join(plain.folder, "again"), tokenizer });
  expect(calls.length).toBeGreaterThan(2);
  const read = (name: string) => readFileSync(join(plain.folder, name, "train-00000.bin"));
  expect(read("again").equals(read("set"))).toBe(true);
  expect(textsOf(folder, "train")).toEqual(long);
});

test("a second run does nothing; another text, tokenizer or option makes another dataset", async () => {
  const { folder, file, prepare } = setup();
  const cacheDir = join(folder, "cache");
  const first = await prepare({ cacheDir });
  const time = statSync(join(first.folder, "dataset.json")).mtimeMs;
  let encoded = 0;
  const encode = (text: string) => {
    encoded++;
    return bytes.encode(text);
  };
  const counting = { ...bytes, encode };
  const second = await prepare({ cacheDir, tokenizer: counting });
  expect(second).toEqual({ ...first, reused: true });
  expect(encoded).toBe(0);
  expect(statSync(join(first.folder, "dataset.json")).mtimeMs).toBe(time);
  const others = [
    await prepare({ cacheDir, tokenizer: { ...bytes, hash: "other" } }),
    await prepare({ cacheDir, separator: "blank-line" }),
    await prepare({ cacheDir, validFraction: 0.1 }),
    await prepare({ cacheDir, shardTokens: 999 }),
  ];
  writeFileSync(file, "something else");
  others.push(await prepare({ cacheDir }));
  expect(new Set([first, ...others].map(({ folder }) => folder)).size).toBe(6);
  expect(others.every(({ reused }) => !reused)).toBe(true);
  expect(readdirSync(cacheDir)).toHaveLength(6);
});

test("a prepared folder that lost a shard, or holds a damaged one, is made anew", async () => {
  const { prepare } = setup();
  const { folder } = await prepare();
  const shard = join(folder, "train-00000.bin");
  const whole = readFileSync(shard);
  writeFileSync(shard, whole.subarray(0, 1000));
  expect((await prepare()).reused).toBe(false);
  expect(readFileSync(shard).equals(whole)).toBe(true);
  writeFileSync(join(folder, "dataset.json"), "{}");
  expect((await prepare()).reused).toBe(false);
  expect((await prepare()).reused).toBe(true);
});

test("another dataset is replaced, a folder of something else is not touched", async () => {
  const { folder, prepare } = setup();
  await prepare();
  const { manifest } = await prepare({ validFraction: 0.5 });
  expect(readManifest(join(folder, "set")).key).toBe(manifest.key);
  const mine = join(folder, "mine");
  mkdirSync(mine);
  writeFileSync(join(mine, "thesis.txt"), "years of work");
  await expect(prepare({ outDir: mine })).rejects.toThrow("exists and was not written by this command");
  expect(readdirSync(mine)).toEqual(["thesis.txt"]);
});

test("a validation fraction holds out whole documents by their text: about that share, the same ones, no copy in both", async () => {
  const documents = [...stories, ...stories.slice(0, 100)];
  const { prepare } = setup(documents);
  const { folder } = await prepare({ validFraction: 0.2 });
  const [train, valid] = [textsOf(folder, "train"), textsOf(folder, "valid")];
  expect(train.length + valid.length).toBe(500);
  expect(valid).toEqual(documents.filter((text) => isValidationDocument(text, 0.2)));
  expect(train.filter((text) => valid.includes(text))).toEqual([]);
  // 80 of 400 expected, standard deviation 8.
  const distinct = new Set(valid).size;
  expect(Math.abs(distinct - 80)).toBeLessThan(40);
});

test("validation files of their own are kept apart", async () => {
  const { folder, prepare } = setup();
  const held = join(folder, "held.jsonl");
  writeFileSync(held, '{"text":"held out"}\n');
  const prepared = await prepare({ validSources: [held] });
  expect(textsOf(prepared.folder, "train")).toEqual(stories);
  expect(textsOf(prepared.folder, "valid")).toEqual(["held out"]);
  await expect(prepare({ validSources: [held], validFraction: 0.1 })).rejects.toThrow("not both");
});

test("documents made by a program are prepared and cached by their identity", async () => {
  const { prepare } = setup();
  const source = (identity: string) => ({ name: "made", identity, documents: () => ["one", "two"] });
  const { folder } = await prepare({ sources: [source("1")] });
  expect(textsOf(folder, "train")).toEqual(["one", "two"]);
  expect((await prepare({ sources: [source("1")] })).reused).toBe(true);
  expect((await prepare({ sources: [source("2")] })).reused).toBe(false);
  await expect(prepare({ sources: [{ ...source("3"), documents: () => [] }] })).rejects.toThrow(
    "made: hold no document; expected text",
  );
});

test("bad input leaves nothing behind, and the dataset that was there stays", async () => {
  const { folder, file, prepare } = setup();
  const { manifest } = await prepare();
  const good = readFileSync(file);
  const left = () => {
    expect(readdirSync(folder).sort()).toEqual(["set", "stories.txt"]);
    expect(readManifest(join(folder, "set")).key).toBe(manifest.key);
  };
  writeFileSync(file, Buffer.concat([good, Buffer.from([0xff])]));
  await expect(prepare()).rejects.toThrow("is not valid UTF-8");
  left();
  writeFileSync(file, "");
  await expect(prepare()).rejects.toThrow("is empty");
  left();
  writeFileSync(file, good);
  const failing = { ...bytes, hash: "x", encode: () => [257] };
  await expect(prepare({ tokenizer: failing })).rejects.toThrow("gave token 257 at position 0");
  left();
  const rejecting = { ...bytes, hash: "y", encodeMany: () => Promise.reject(new Error("a worker died")) };
  await expect(prepare({ tokenizer: rejecting })).rejects.toThrow("a worker died");
  left();
});

test("aborted at any report, it throws the reason and leaves nothing behind", async () => {
  const { folder, prepare } = setup(stories.map((story) => story.repeat(120)));
  for (let stopAt = 1; ; stopAt++) {
    const controller = new AbortController();
    let reports = 0;
    const options = {
      signal: controller.signal,
      onProgress: () => {
        if (++reports === stopAt) controller.abort(new Error("stopped"));
      },
    };
    const outcome = await prepare(options).catch((error: Error) => error.message);
    if (outcome !== "stopped") {
      expect(stopAt).toBeGreaterThan(3);
      break;
    }
    expect(readdirSync(folder)).toEqual(["stories.txt"]);
  }
  expect(existsSync(join(folder, "set", "dataset.json"))).toBe(true);
});

test("progress counts up to the bytes, documents and tokens there are", async () => {
  const { file, prepare } = setup();
  const seen: string[] = [];
  let last: unknown;
  const { manifest } = await prepare({
    onProgress: (progress) => {
      seen.push(progress.phase);
      last = progress;
    },
  });
  const size = statSync(file).size;
  const { documents, tokens } = manifest.splits.train;
  expect(last).toEqual({ phase: "encode", bytesDone: size, bytesTotal: size, documents, tokens });
  expect(new Set(seen)).toEqual(new Set(["hash", "encode"]));
});

test("options that contradict or cannot be are refused", async () => {
  const { folder, prepare } = setup();
  await expect(prepare({ validFraction: 1 })).rejects.toThrow(
    "the validation fraction is 1; expected a number between",
  );
  await expect(prepare({ validFraction: 1e-9 })).rejects.toThrow("of 400 documents none is left for validation");
  await expect(prepare({ sources: [] })).rejects.toThrow("name at least one text file");
  await expect(prepare({ outDir: undefined })).rejects.toThrow("name either outDir or cacheDir");
  await expect(prepare({ outDir: "x", cacheDir: folder })).rejects.toThrow("name either outDir or cacheDir");
  await expect(prepare({ tokenizer: { ...bytes, endOfText: null } })).rejects.toThrow("end-of-text token is null");
  await expect(prepare({ shardTokens: 0 })).rejects.toThrow("shardTokens is 0");
});

testShared(
  "shared: 16 MB of TinyStories become shards of 19,605 documents that give the text back",
  ["data/tinystories/train.txt.gz"],
  async () => {
    const { prepare } = setup();
    const { folder, manifest } = await prepare({
      sources: [sharedPath("data/tinystories/train.txt.gz")],
      shardTokens: 6_000_000,
    });
    // 16,226,033 bytes in all, less the separator "\n<|endoftext|>\n" of 15 bytes behind each story.
    expect(manifest.splits.train).toMatchObject({ documents: 19605, textBytes: 16226033 - 15 * 19605 });
    expect(manifest.splits.train.shards).toHaveLength(3);
    const shards = openShards(folder, "train");
    for (const shard of shards) {
      shard.verify();
      shard.close();
    }
  },
);
