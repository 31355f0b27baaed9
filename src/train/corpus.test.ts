// Oracle: the texts written here, counted by hand in bytes; what training may not see is looked for in what it sees.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { prepareTokens } from "../corpus/index.ts";
import { streamOfTokens, type TokenStream } from "../data/index.ts";
import { createDocumentEncoder, saveTokenizer, trainBpe, trainCharacters } from "../tokenizer/index.ts";
import { resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { prepareCorpus } from "./corpus.ts";
import { countTextBytes } from "./text-bytes.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-corpus-"));
afterAll(() => rmSync(root, { recursive: true }));
const file = (name: string, text: string) => {
  const path = join(root, name);
  writeFileSync(path, text);
  return path;
};
const prepare = (patch: RunConfigPatch) =>
  prepareCorpus(
    resolveConfig([
      {
        from: "test",
        patch: {
          preset: "tiny",
          model: { vocabSize: 64, contextLength: 8 },
          tokenizer: { kind: "characters" },
          train: { sequence: 8, batch: 2 },
          evaluation: { batches: null },
        },
      },
      { from: "test", patch: { ...patch, data: { cacheDir: join(root, "cache"), ...patch.data } } },
    ]),
  );
const all = (stream: TokenStream) => {
  const ids = new Int32Array(stream.tokenCount);
  stream.read(0, ids);
  return ids;
};
const separated = (documents: string[]) => documents.join("<|endoftext|>");

describe("validation text", () => {
  test("of many documents is a share of them, which training does not see", async () => {
    const documents = Array.from({ length: 200 }, (_, i) => `<${i}> says: ${"abc".repeat(i % 7)}`);
    const corpus = await prepare({ data: { files: [file("many.txt", separated(documents))], validFraction: 0.1 } });
    expect(corpus.validation!.source).toBe("documents");
    const { tokenizer } = corpus;
    const training = tokenizer.decode(all(corpus.tokens)).split("<|endoftext|>").filter(Boolean);
    const held = documents.filter((document) => !training.includes(document));
    expect(held.length).toBeGreaterThan(5);
    expect(held.length).toBeLessThan(40);
    // Each held-out document, and the end-of-text token behind it.
    expect(corpus.validation!.tokens).toBe(held.reduce((sum, document) => sum + document.length + 1, 0));
    expect(corpus.validation!.textBytes).toBe(held.join("").length);
    corpus.close();
  });

  test("of one document is its end", async () => {
    const text = "abcdefghij".repeat(20);
    const corpus = await prepare({ data: { files: [file("one.txt", text)], validFraction: 0.1 } });
    const { tokenizer, tokens, validation } = corpus;
    expect(validation!.source).toBe("tail");
    expect(tokenizer.decode(all(tokens))).toBe(text.slice(0, 180));
    expect(validation!.tokens).toBe(21);
    expect(validation!.textBytes).toBe(20);
    expect(tokens.identity).toMatch(/\[0,180\)$/);
    corpus.close();
  });

  test("may come from files of its own, or be none", async () => {
    const files = [file("train.txt", "hello world, hello"), file("valid.txt", "hello")];
    const own = await prepare({ data: { files: [files[0]], validFiles: [files[1]] } });
    expect(own.validation).toMatchObject({ source: "files", tokens: 6, textBytes: 5 });
    own.close();
    const none = await prepare({ data: { files, validFraction: 0 } });
    expect(none.validation).toBeNull();
    none.close();
  });

  test("limited to some batches still knows its bytes", async () => {
    const corpus = await prepare({
      data: { files: [file("u.txt", "añb".repeat(100))], validFraction: 0.5 },
      evaluation: { batches: 2 },
    });
    // 2 batches of 2 x 8 targets; of every three characters one has two bytes, and the tail begins with one "a".
    expect(corpus.validation).toMatchObject({ tokens: 32, textBytes: 32 + 11 });
    corpus.close();
  });
});

test("a prepared dataset is used as it is, with the tokenizer that made it", async () => {
  const files = [file("d1.txt", "hello world, hello"), file("d2.txt", "hello")];
  const { tokenizer } = await trainCharacters(["hello world,"]);
  const path = join(root, "dataset-tokenizer.json");
  saveTokenizer(tokenizer, path);
  const encoder = createDocumentEncoder(tokenizer, { threads: 0 });
  const folder = join(root, "dataset");
  await prepareTokens({ sources: [files[0]], validSources: [files[1]], tokenizer: encoder, outDir: folder });
  const model = { vocabSize: tokenizer.vocabSize };
  const corpus = await prepare({ data: { files: [folder] }, tokenizer: { file: path }, model });
  expect(tokenizer.decode(all(corpus.tokens), { skipSpecialTokens: true })).toBe("hello world, hello");
  expect(corpus.validation).toMatchObject({ source: "files", tokens: 6, textBytes: 5 });
  corpus.close();
  await expect(prepare({ data: { files: [folder] }, model })).rejects.toThrow(/name the tokenizer that it was encoded/);
  const other = (await trainCharacters(["hello wOrld,"])).tokenizer;
  const otherPath = join(root, "other-tokenizer.json");
  saveTokenizer(other, otherPath);
  await expect(
    prepare({ data: { files: [folder] }, tokenizer: { file: otherPath }, model: { vocabSize: other.vocabSize } }),
  ).rejects.toThrow(/was encoded with another tokenizer/);
  await expect(prepare({ data: { files: [folder, files[0]] }, tokenizer: { file: path }, model })).rejects.toThrow(
    /dataset: is a prepared dataset, .*d1.txt is not; .* make a mixture of both: --mix a=1:/,
  );
});

describe("the tokenizer", () => {
  test("given must have the model's vocabulary and an end of text", async () => {
    const files = [file("t.txt", "some text to read")];
    const { tokenizer } = await trainCharacters(["some text to read"], { specialTokens: [] });
    const path = join(root, "no-end.json");
    saveTokenizer(tokenizer, path);
    await expect(prepare({ data: { files }, tokenizer: { file: path } })).rejects.toThrow(
      /has 10 tokens, but the model's vocabulary is 64/,
    );
    await expect(prepare({ data: { files }, tokenizer: { file: path }, model: { vocabSize: 10 } })).rejects.toThrow(
      /has no end-of-text token/,
    );
  });

  test("trained as BPE has the size wanted", async () => {
    const text = Array.from({ length: 300 }, (_, i) => `word${i % 40} follows${i % 11}`).join(" ");
    const patch = { data: { files: [file("bpe.txt", text)] }, tokenizer: { kind: "bpe" as const } };
    const corpus = await prepare({ ...patch, model: { vocabSize: 280 } });
    expect(corpus.tokenizer.vocabSize).toBe(280);
    corpus.close();
    await expect(prepare({ ...patch, model: { vocabSize: 5000 } })).rejects.toThrow(
      /supports a vocabulary of \d+ tokens/,
    );
  });
});

describe("bytes of a piece of text", () => {
  const text = "Ünïcode and plain. ".repeat(30);
  const utf8 = (s: string) => new TextEncoder().encode(s).length;

  test("are exact for byte-level tokens, also where a piece cuts a character", async () => {
    const { tokenizer } = await trainBpe([text], { vocabSize: 270 });
    const ids = [...tokenizer.encode(text), tokenizer.endOfText!, ...tokenizer.encode("é")];
    const stream = streamOfTokens(ids, { vocabSize: tokenizer.vocabSize, endOfText: tokenizer.endOfText! });
    expect(countTextBytes(tokenizer, stream, 0, ids.length)).toBe(utf8(`${text}é`));
    const cut = ids.length - 1; // "é" is two tokens of one byte each: no merge has seen it
    expect(countTextBytes(tokenizer, stream, 0, cut)).toBe(utf8(text) + 1);
  });

  test("are believed of other tokenizers only where encoding the text gives the tokens again", async () => {
    const { tokenizer } = await trainCharacters([text]);
    const ids = tokenizer.encode(text);
    const stream = streamOfTokens(ids, { vocabSize: tokenizer.vocabSize, endOfText: 0 });
    expect(countTextBytes(tokenizer, stream, 0, ids.length)).toBe(utf8(text));
    const lossy: Parameters<typeof countTextBytes>[0] = {
      engine: tokenizer.engine,
      specialTokens: tokenizer.specialTokens,
      tokenOf: (id) => tokenizer.tokenOf(id),
      encode: (part) => tokenizer.encode(part),
      decode: (part) => tokenizer.decode(part).replaceAll(".", ""),
    };
    expect(countTextBytes(lossy, stream, 0, ids.length)).toBeNull();
  });
});
