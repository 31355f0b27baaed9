// Oracle: a count of the operating system's opens of the text, taken at node:fs. Before counting, tokenizer, hash and tokens
// shared a read (shared-text.ts), the four cases opened the text 4, 4, 3 and 3 times.
import type * as fs from "node:fs";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { createTextMemory, openSharedText, prepareTokens } from "../corpus/index.ts";
import { createDocumentEncoder, saveTokenizer, trainCharacters } from "../tokenizer/index.ts";
import { resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { prepareCorpus } from "./corpus.ts";
import { prepareMixture } from "./mixed-corpus.ts";

const opened = vi.hoisted(() => [] as string[]);
vi.mock("node:fs", async (original) => {
  const actual = await original<typeof fs>();
  const openSync: typeof fs.openSync = (path, ...how) => {
    opened.push(String(path));
    return actual.openSync(path, ...how);
  };
  const createReadStream: typeof fs.createReadStream = (path, ...how) => {
    opened.push(String(path));
    return actual.createReadStream(path, ...how);
  };
  return { ...actual, openSync, createReadStream };
});
const memory = vi.hoisted(() => ({ characters: 2 ** 25 }));
vi.mock("../corpus/shared-text.ts", async (original) => {
  const actual = await original<typeof import("../corpus/shared-text.ts")>();
  return { ...actual, createTextMemory: () => actual.createTextMemory(memory.characters) };
});

const root = mkdtempSync(join(tmpdir(), "bitnet-reads-"));
afterAll(() => rmSync(root, { recursive: true }));
let files = 0;
const file = (text: string) => {
  const path = join(root, `text-${files++}.txt`);
  writeFileSync(path, text);
  return path;
};
const opensOf = async (path: string, work: () => Promise<unknown>) => {
  opened.length = 0;
  await work();
  return opened.filter((name) => name === path).length;
};

const stories = Array.from({ length: 400 }, (_, i) => `Story ${i}: ${"once upon a time ".repeat(1 + (i % 5))}`);
const few = stories.join("");
const many = stories.join("\n<|endoftext|>\n");
const { tokenizer } = await trainCharacters([few]);
const tokenizerFile = join(root, "tokenizer.json");
saveTokenizer(tokenizer, tokenizerFile);

const config = (patch: RunConfigPatch) =>
  resolveConfig([
    {
      from: "test",
      patch: {
        preset: "tiny",
        model: { vocabSize: tokenizer.vocabSize, contextLength: 8 },
        tokenizer: { kind: "characters" },
        train: { sequence: 8, batch: 2 },
        evaluation: { batches: null },
        ...patch,
        data: { validFraction: 0.1, cacheDir: join(root, "cache"), ...patch.data },
      },
    },
  ]);

describe.each([
  { name: "one document, a tokenizer trained", text: few, given: false },
  { name: "many documents, a tokenizer trained", text: many, given: false },
  { name: "one document, a tokenizer given", text: few, given: true },
  { name: "many documents, a tokenizer given", text: many, given: true },
])("$name", ({ text, given }) => {
  const prepare = async (path: string) => {
    const corpus = await prepareCorpus(
      config({ data: { files: [path] }, ...(given ? { tokenizer: { file: tokenizerFile } } : {}) }),
    );
    corpus.close();
    return corpus.about.identity;
  };

  test("text that fits in memory is opened once, before it is encoded and after", async () => {
    const path = file(text);
    expect(await opensOf(path, () => prepare(path))).toBe(1);
    expect(await opensOf(path, () => prepare(path))).toBe(1);
  });

  test("many documents that do not fit are opened twice, then once, one document still once; the tokens are the same", async () => {
    const path = file(text);
    const whole = await prepare(file(text));
    rmSync(join(root, "cache"), { recursive: true });
    // Room for the 100 documents that are counted, not for all 400.
    memory.characters = 30_000;
    try {
      expect(await opensOf(path, () => prepare(path))).toBe(text === few ? 1 : 2);
      expect(await opensOf(path, () => prepare(path))).toBe(1);
      expect(await prepare(path)).toBe(whole);
    } finally {
      memory.characters = 2 ** 25;
    }
  });
});

test("each text of a mixture is opened once", async () => {
  const paths = [file(many), file(many.toUpperCase())];
  const sources = paths.map((path, i) => ({ name: `text${i}`, weight: 1, path }));
  const mixed = config({ model: { vocabSize: 64, contextLength: 8 }, data: { mixture: { sources } } });
  opened.length = 0;
  (await prepareMixture(mixed)).close();
  expect(paths.map((path) => opened.filter((name) => name === path).length)).toEqual([1, 1]);
});

test("the cache knows text that was encoded by its path, and the other way round", async () => {
  const path = file(many);
  const encoder = createDocumentEncoder(tokenizer, { threads: 0 });
  const how = { tokenizer: encoder, cacheDir: join(root, "cache"), validFraction: 0.1 };
  const first = await prepareTokens({ ...how, sources: [path] });
  const text = await openSharedText([path], { memory: createTextMemory() });
  const again = await prepareTokens({ ...how, sources: text.files });
  expect(again).toEqual({ ...first, reused: true });
  await text.close();
  await encoder.close();
});
