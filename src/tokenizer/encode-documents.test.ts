// Oracle: encode, text by text, in this thread. With threads the work is done by workers that run the same sources.
import { beforeAll, describe, expect, test } from "vitest";
import { createDocumentEncoder, encodeDocuments } from "./encode-documents.ts";
import { createTokenizer } from "./load.ts";
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
  // Longer than what is handed to a thread at once: one that is cut, one that cannot be; and half a pair of surrogates.
  texts.push("", "<|endoftext|>", "x".repeat(700_000), "the cat é sat on it <|endoftext|> ".repeat(20_000), "\ud83d");
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

  test("tells the bytes of each text in UTF-8", async () => {
    const encoder = createDocumentEncoder(tokenizer, { threads });
    const { ids, textBytes } = await encoder.encodeGroup(texts);
    expect(ids.length).toBe(texts.length);
    expect(textBytes).toEqual(texts.map((text) => Buffer.byteLength(text)));
    await encoder.close();
  });

  test("puts around a text that is cut what belongs around a text, once", async () => {
    const { tokenizer: characters } = await trainCharacters(["abc "]);
    const file = characters.toJson();
    const around = {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "<|endoftext|>", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "<|endoftext|>", type_id: 0 } },
      ],
    };
    const encoder = createDocumentEncoder(createTokenizer({ ...file, post_processor: around }), {
      threads,
      addSpecialTokens: true,
    });
    const [ids] = await encoder.encodeMany(["ab ".repeat(100_000)]);
    expect([ids.length, ids[0], ids.at(-1), ids.indexOf(0, 1)]).toEqual([300_002, 0, 0, 300_001]);
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
