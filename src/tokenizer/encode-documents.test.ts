// Oracle: encode, text by text, in this thread. With threads the work is done by workers that run the same sources.
import { beforeAll, describe, expect, test } from "vitest";
import { createDocumentEncoder, encodeDocuments } from "./encode-documents.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { trainBpe } from "./train-bpe.ts";
import { trainCharacters } from "./train-characters.ts";

let tokenizer: Tokenizer;
let texts: string[];
beforeAll(async () => {
  texts = Array.from(
    { length: 3000 },
    (_, i) => `Story ${i}: ${"the cat sat on the mat. ".repeat(i % 40)}é😀 ${i * 7919}`,
  );
  texts.push("", "<|endoftext|>", "x".repeat(700_000));
  tokenizer = (await trainBpe(texts.slice(0, 100), { vocabSize: 400 })).tokenizer;
});

describe.for([0, 2])("with %d threads", (threads) => {
  test("gives the ids of encode, in order, one list for each document", async () => {
    let i = 0;
    async function* documents() {
      yield* texts;
    }
    for await (const ids of encodeDocuments(tokenizer, documents(), { threads })) {
      if (!equal(ids, tokenizer.encode(texts[i])))
        expect(ids, texts[i].slice(0, 80)).toEqual(tokenizer.encode(texts[i]));
      i++;
    }
    expect(i).toBe(texts.length);
  });

  test("takes the options of encode to the threads", async () => {
    const encoder = createDocumentEncoder(tokenizer, { threads, parseSpecialTokens: false });
    const [ids] = await encoder.encodeMany(["<|endoftext|>"]);
    expect(ids.length).toBeGreaterThan(1);
    expect(ids).toEqual(encoder.encode("<|endoftext|>"));
    expect(await encoder.encodeMany([])).toEqual([]);
    await encoder.close();
  });

  test("a text that cannot be encoded is refused as by encode", async () => {
    const { tokenizer: digits } = await trainCharacters(["0123456789"]);
    const read = async () => {
      for await (const ids of encodeDocuments(digits, ["12", "1x2"], { threads })) expect(ids.length).toBe(2);
    };
    await expect(read()).rejects.toThrow('tokenizer characters-11: "x" (U+0078) at character 1');
  });

  test("stops with the signal's reason", async () => {
    const controller = new AbortController();
    const read = async () => {
      for await (const _ of encodeDocuments(tokenizer, texts, { threads, signal: controller.signal }))
        controller.abort(new Error("stopped by the reader"));
    };
    await expect(read()).rejects.toThrow("stopped by the reader");
  });
});

test("a tokenizer without an end-of-text token is refused", async () => {
  const { tokenizer: bare } = await trainCharacters(["abc"], { specialTokens: [] });
  expect(() => createDocumentEncoder(bare, { threads: 0 })).toThrow("characters-3 has no end-of-text token");
});

const equal = (a: Int32Array, b: Int32Array) => a.length === b.length && a.every((id, i) => id === b[i]);
