// Oracle: the tokens written into the shards; and of reading ahead, the same feed read in this thread.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DataError, FileError, FormatError, UsageError } from "../../platform/errors.ts";
import type { Batch } from "../batches.ts";
import { prepareShards } from "../../corpus/prepare-shards.ts";
import { prepareTokens } from "../../corpus/prepare.ts";
import { openSplit } from "../prepared-split.ts";
import { documentScores, lengthScores } from "./difficulty.ts";
import { type FeedSpec, type MixtureFeedSpec, openFeed, openMixture, type PreparedSource } from "./feed.ts";
import { prefetchFeed } from "./prefetch.ts";
import { listScores, openScores, scoresPath, sortedPlaces, writeScores } from "./scores.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-feed-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Words are numbers, and these are their tokens; 999 ends a document. */
const tokenizer = (hash = "words") => ({
  vocabSize: 1000,
  endOfText: 999,
  hash,
  encode: (text: string) => text.split(" ").map(Number),
});
/** Documents of the given lengths, with their end of text; tokens count from `base`. */
async function prepare(
  name: string,
  base: number,
  lengths: number[],
  options: { hash?: string; shardTokens?: number } = {},
) {
  let next = base;
  const documents = lengths.map((length) => Array.from({ length: length - 1 }, () => next++ % 999).join(" "));
  const outDir = join(root, name);
  const source = { name, identity: `${name} ${base} ${lengths}`, documents: () => documents };
  await prepareTokens({
    sources: [source],
    tokenizer: tokenizer(options.hash),
    outDir,
    shardTokens: options.shardTokens ?? 40,
  });
  return outDir;
}

const T = 4;
const source = (name: string, weight: number, ...folders: string[]): PreparedSource => ({
  name,
  weight,
  folders,
  curriculum: true,
});
const mixture = (sources: PreparedSource[], more: Partial<MixtureFeedSpec> = {}): MixtureFeedSpec => ({
  kind: "mixture",
  sources,
  split: "train",
  batch: 3,
  sequence: T,
  seed: 5,
  documentStarts: true,
  lossAfter: null,
  curriculum: null,
  ...more,
});
const batches = async (feed: { next(): Batch | Promise<Batch> }, n: number) => {
  const found: Batch[] = [];
  for (let i = 0; i < n; i++) found.push(await feed.next());
  return found;
};

let [a, b, c]: string[] = [];
beforeAll(async () => {
  a = await prepare("a", 0, [10, 11, 12, 13, 14, 15, 16]);
  b = await prepare("b", 300, [30, 5, 30, 5]);
  c = await prepare("c", 600, [20]);
});

describe("a feed", () => {
  test("of a mixture reads prepared folders, several as one source", () => {
    const opened = openMixture(mixture([source("ab", 1, a, b), source("c", 1, c)]));
    const [ab] = opened.use();
    // 91 tokens and 70: 22 sequences and 17.
    expect(ab.sequences).toBe(22 + 17);
    const seen = new Set<number>();
    for (let n = 0; n < 26; n++) {
      const { tokens_BT, source_B } = opened.next();
      for (let row = 0; row < 3; row++) if (source_B[row] === 0) seen.add(tokens_BT[row * T]);
    }
    // 78 draws, half of them of ab: one epoch. Sequences of a begin with 0 to 84, of b with 300 to 366, or with an end.
    expect([...seen].every((token) => token < 85 || (token >= 300 && token < 370) || token === 999)).toBe(true);
    opened.close();
  });

  test("of one text is createBatches over folders one behind another, or over a part of them", async () => {
    const spec: FeedSpec = { ...mixture([]), kind: "text", folders: [a, c], range: null };
    const whole = openFeed(spec);
    expect(whole.batchesPerEpoch).toBe(Math.floor(Math.floor((91 + 20 - 1) / T) / 3));
    whole.close?.();
    const part = openFeed({ ...spec, range: [0, 30] });
    const tokens = (await batches(part, part.batchesPerEpoch)).flatMap(({ tokens_BT }) => [...tokens_BT]);
    expect(Math.max(...tokens.filter((token) => token !== 999))).toBeLessThan(30);
    part.close?.();
  });

  test.for<[string, () => FeedSpec, new (m: string) => Error, RegExp]>([
    [
      "a folder that is none",
      () => mixture([source("x", 1, join(root, "none"))]),
      DataError,
      /none: is not a prepared dataset/,
    ],
    [
      "sequences longer than the data",
      () => mixture([source("a", 1, a), source("c", 1, c)], { sequence: 20 }),
      DataError,
      /source "c", .*c: a sequence of 20 tokens needs 21 tokens of text, but the data have 20/,
    ],
    [
      "no valid split",
      () => mixture([source("a", 1, a)], { split: "valid" }),
      DataError,
      /a: was prepared without a valid split/,
    ],
    [
      "a curriculum without scores",
      () => mixture([source("c", 1, c)], { curriculum: { by: "loss", pacing: "linear", start: 1, tokens: 1 } }),
      DataError,
      /c: has no scores "loss" for sequences of 4 tokens \(it has: none\); make them: bitnet data score .*c --by loss --sequence 4/,
    ],
    [
      "a curriculum over several folders",
      () => mixture([source("ab", 1, a, b)], { curriculum: { by: "loss", pacing: "linear", start: 1, tokens: 1 } }),
      FormatError,
      /source "ab": a curriculum orders the sequences of one prepared folder/,
    ],
  ])("refuses %s", ([, spec, type, message]) => {
    expect(() => openFeed(spec())).toThrow(type);
    expect(() => openFeed(spec())).toThrow(message);
  });

  test("refuses a folder of another tokenizer, naming both sources", async () => {
    const other = await prepare("other", 0, [50], { hash: "others" });
    expect(() => openFeed(mixture([source("a", 1, a), source("o", 1, other)]))).toThrow(
      /source "o", .*other: was prepared with another tokenizer than source "a", .*a; prepare both with one/,
    );
  });

  test("refuses a shard that is missing, cut short or exchanged", async () => {
    const folder = await prepare("damaged", 0, [10, 31, 32, 33]);
    const shards = readdirSync(folder).filter((name) => name.endsWith(".bin"));
    expect(shards.length).toBeGreaterThan(1);
    const path = join(folder, shards[1]);
    const bytes = readFileSync(path);
    const open = () => openFeed(mixture([source("d", 1, folder)]));
    writeFileSync(path, bytes.subarray(0, bytes.length - 8));
    expect(open).toThrow(FormatError);
    expect(open).toThrow(/is it cut short/);
    writeFileSync(path, readFileSync(join(folder, shards[0])));
    expect(open).toThrow(/is not the shard that dataset.json describes/);
    rmSync(path);
    expect(open).toThrow(FileError);
    expect(open).toThrow(new RegExp(shards[1]));
  });
});

describe("shards packed by best fit", () => {
  const folder = join(root, "fitted");
  const lengths = [3, 7, 2, 11, 5, 4, 6, 8, 3, 5]; // one longer than a sequence
  beforeAll(async () => {
    const file = join(root, "fitted.jsonl");
    const rows = lengths.map((length, i) => {
      const text = Array.from({ length: length - 1 }, (_, k) => 100 * i + k).join(" ");
      return JSON.stringify({ text, quality: i / 8 });
    });
    writeFileSync(file, rows.join("\n"));
    await prepareShards({
      inputs: [{ name: "fitted", paths: [file], read: { fields: { score: "quality" } } }],
      tokenizer: tokenizer(),
      outDir: folder,
      packing: { kind: "best-fit", sequence: 8 },
    });
  });

  test("are mixed with streams; what fills a sequence up is no target", () => {
    const opened = openMixture(mixture([source("f", 1, folder), source("a", 1, a)], { sequence: 8, batch: 2 }));
    const [{ sequences }] = opened.use();
    let targets = 0;
    for (let n = 0; n < sequences; n++) {
      const { targets_BT, source_B } = opened.next();
      for (let i = 0; i < 16; i++) if (source_B[i >> 3] === 0 && targets_BT[i] !== -100) targets++;
    }
    // Of each sequence all tokens of documents but the first are targets: one epoch of it was drawn.
    expect(targets).toBe(lengths.reduce((x, y) => x + y, 0) - sequences);
    opened.close();
  });

  test("are refused for sequences of another length", () => {
    const spec = mixture([source("a", 1, a), source("f", 1, folder)]);
    expect(() => openFeed(spec)).toThrow(UsageError);
    expect(() => openFeed(spec)).toThrow(
      /source "f", .*fitted: the data were packed into sequences of 8 tokens, and 4 are asked for/,
    );
  });

  test("are scored by their documents' lengths and scores", async () => {
    const split = openSplit(folder);
    const sequences = split.sequences(8);
    const [byLength, byScore] = [await lengthScores(split, 8), await documentScores(split, 8)];
    const [tokens, ignored] = [new Int32Array(8), new Int32Array(8)];
    for (let i = 0; i < sequences.count; i++) {
      sequences.read(i, tokens, ignored);
      // The document of each token is its hundred, an end belongs to the one before it, and what fills up to none.
      let used = 0;
      const sums = [0, 0];
      for (let k = 0; k < split.tokens.fitted!.usedOf(i); k++) {
        const document = Math.floor((tokens[k] === 999 ? tokens[k - 1] : tokens[k]) / 100);
        used++;
        sums[0] += lengths[document];
        sums[1] += Math.fround(document / 8);
      }
      expect(byLength[i]).toBe(Math.fround(sums[0] / used));
      expect(byScore[i]).toBe(Math.fround(sums[1] / used));
    }
    split.close();
  });
});

describe("reading ahead", () => {
  test("gives the batches and positions of this thread, and goes on from one", async () => {
    const spec = mixture([source("a", 2, a), source("b", 1, b)]);
    const [here, ahead] = [openFeed(spec), prefetchFeed(spec, 3)];
    expect([ahead.batchesPerEpoch, ahead.tokensPerEpoch]).toEqual([here.batchesPerEpoch, here.tokensPerEpoch]);
    await ahead.ready!();
    // What was read ahead is not yet taken.
    expect(ahead.state()).toEqual(here.state());
    expect(await batches(ahead, 5)).toEqual(await batches(here, 5));
    const saved = JSON.parse(JSON.stringify(ahead.state()));
    expect(saved).toEqual(here.state());
    expect(ahead.use!()).toEqual(here.use!());
    const rest = await batches(here, 6);
    expect(await batches(ahead, 6)).toEqual(rest);
    ahead.restore(saved);
    expect(ahead.state()).toEqual(saved);
    expect(await batches(ahead, 6)).toEqual(rest);
    expect(() => ahead.restore({ ...saved, seed: 9 })).toThrow(DataError);
    await ahead.close();
    here.close?.();
  });

  test("ends with the error of the batch that cannot be read, after those before it", async () => {
    const folder = await prepare("spoilt", 0, [120], { shardTokens: 1000 });
    const [shard] = readdirSync(folder).filter((name) => name.endsWith(".bin"));
    const bytes = readFileSync(join(folder, shard));
    bytes.writeUInt16LE(5000, 256 + 2 * 60); // no such token
    writeFileSync(join(folder, shard), bytes);
    const spec = mixture([source("s", 1, folder)], { batch: 1 });
    const here = openFeed(spec);
    let good = 0;
    for (;;) {
      try {
        here.next();
        good++;
      } catch {
        break;
      }
    }
    here.close?.();
    const ahead = prefetchFeed(spec, 4);
    await batches(ahead, good);
    await expect(ahead.next()).rejects.toThrow(FormatError);
    await ahead.close();
  });

  test("refuses in this thread what the worker could not open", () => {
    expect(() => prefetchFeed(mixture([source("x", 1, join(root, "none"))]), 2)).toThrow(DataError);
    expect(() => prefetchFeed(mixture([source("a", 1, a)]), 0)).toThrow(UsageError);
  });
});

describe("scores", () => {
  test("by length are the mean over a sequence's tokens of their document's length", async () => {
    const split = openSplit(a);
    const scores = await lengthScores(split, T);
    // Documents of 10, 11, ... tokens: which one each token is of, by hand.
    const of = [10, 11, 12, 13, 14, 15, 16].flatMap((length) => Array.from({ length }, () => length));
    const expected = Array.from({ length: 22 }, (_, i) => of.slice(i * T, i * T + T).reduce((x, y) => x + y, 0) / T);
    expect([...scores]).toEqual(expected.map(Math.fround));
    split.close();
  });

  test("of documents are refused where the data have none", async () => {
    const split = openSplit(a);
    await expect(documentScores(split, T)).rejects.toThrow(
      /its documents have no scores; prepare them .*--score-field/,
    );
    split.close();
  });

  test("are sorted as numbers are, equal ones in order", () => {
    const scores = Float32Array.from([3, -1.5, 0, -0, 1e-40, -1e30, 3, 2.5, 1e30, -1.5]);
    const expected = [...scores.keys()].sort((x, y) => scores[x] - scores[y] || x - y);
    expect([...sortedPlaces(scores)]).toEqual(expected);
    const many = Float32Array.from({ length: 70_000 }, (_, i) => Math.fround(Math.sin(i * 7919) * 1000));
    const places = sortedPlaces(many);
    expect(places.every((place, i) => i === 0 || many[place] >= many[places[i - 1]])).toBe(true);
    expect(new Set(places).size).toBe(70_000);
  });

  test("are kept beside the shards, and drawn from by a curriculum, the easiest first", () => {
    const split = openSplit(c);
    const sequences = split.sequences(T);
    const where = { folder: c, split: "train", sequence: T, name: "mine" } as const;
    writeScores(where, sequences, Float32Array.from([4, 1, 3, 2]), "by hand");
    expect(listScores(c)).toEqual([{ split: "train", sequence: T, name: "mine" }]);
    const opened = openScores(where, sequences);
    expect([opened.detail, opened.scoreOf(2)]).toEqual(["by hand", 3]);
    const places = (first: "lowest" | "highest") => [0, 1, 2, 3].map((place) => opened.order(first).sequenceAt(place));
    expect(places("lowest")).toEqual([1, 3, 2, 0]);
    expect(places("highest")).toEqual([0, 2, 3, 1]);
    opened.close();
    const curriculum = { by: "mine", pacing: "step", start: 0.25, tokens: 400 } as const;
    const mixed = openMixture(mixture([source("c", 1, c)], { curriculum, batch: 1 }));
    const first = Array.from({ length: 100 }, () => mixed.next().tokens_BT[0]);
    expect(new Set(first)).toEqual(new Set([604]));
    const then = Array.from({ length: 4 }, () => mixed.next().tokens_BT[0]);
    expect(then.sort()).toEqual([600, 604, 608, 612]);
    mixed.close();
    split.close();
  });

  test("of other data, damaged, cut short or of a wrong name are refused", async () => {
    const folder = await prepare("scored", 0, [40]);
    const split = openSplit(folder);
    const sequences = split.sequences(T);
    const where = { folder, split: "train", sequence: T, name: "x" } as const;
    const path = writeScores(
      where,
      sequences,
      Float32Array.from({ length: 9 }, (_, i) => i),
    );
    const again = /make the scores again: bitnet data score .*scored --by x --sequence 4$/;
    expect(() => openScores(where, { ...sequences, identity: "other" })).toThrow(/was made of other data/);
    const bytes = readFileSync(path);
    const spoil = (change: (bytes: Buffer) => Buffer) => {
      writeFileSync(path, change(Buffer.from(bytes)));
      return () => openScores(where, sequences).close();
    };
    const flipped = (at: number) => spoil((copy) => copy.fill(copy[at] ^ 1, at, at + 1));
    for (const at of [8, 60, 256, bytes.length - 1]) expect(flipped(at)).toThrow(FormatError);
    expect(flipped(300)).toThrow(/its content has SHA-256/);
    expect(flipped(300)).toThrow(again);
    expect(spoil((copy) => copy.subarray(0, copy.length - 4))).toThrow(/is it cut short/);
    expect(spoil((copy) => copy.subarray(0, 100))).toThrow(/less than its header/);
    expect(() => scoresPath({ ...where, name: "../x" })).toThrow(UsageError);
    expect(() => writeScores(where, sequences, new Float32Array(9).fill(Number.NaN))).toThrow(/sequence 0 is NaN/);
    split.close();
  });
});
