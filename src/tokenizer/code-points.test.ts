// Oracles: llama.cpp's 46 texts for LLaMA-2; the tokenizer.json that Hugging Face made of the same SentencePiece model;
// our general engine on it (held to the Rust library in general/general.test.ts); the prompts of golden.json for the small SentencePiece models. (Once, outside the
// tests: SentencePiece 0.2 itself, equal on 26,000 real and random texts.)
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { ggmlCases, ggmlFiles, realTextFiles, realTexts, roughText } from "../../test/support/tokenizers.ts";
import { createTokenizer, loadTokenizer } from "./load.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { trainCharacters } from "./train-characters.ts";

function expectSame(ours: Tokenizer, library: Tokenizer, texts: Iterable<string>): void {
  expect(ours.engine).toBe("code-points");
  expect(library.engine).toBe("general");
  for (const text of texts) {
    const ids = ours.encode(text);
    const expected = library.encode(text);
    if (ids.length !== expected.length || ids.some((id, i) => id !== expected[i]))
      expect([...ids].map((id) => ours.tokenOf(id))).toEqual([...expected].map((id) => ours.tokenOf(id)));
  }
}

describe("LLaMA-2", () => {
  const modelFile = "data/tokenizers/llama2.tokenizer.model";
  const jsonFile = "data/tokenizers/llama2.tokenizer.json";
  const made = new Map<string, Tokenizer>();
  const load = (file: string): Tokenizer => {
    if (!made.has(file)) made.set(file, loadTokenizer(sharedPath(file)));
    return made.get(file)!;
  };

  testShared(
    "the SentencePiece file becomes Hugging Face's tokenizer.json, merge for merge",
    [modelFile, jsonFile],
    () => {
      expect(load(modelFile).hash).toBe(load(jsonFile).hash);
    },
  );

  testShared(
    "gives llama.cpp's ids, and the text back, for its 46 texts",
    [modelFile, ...ggmlFiles("llama-spm")],
    () => {
      const cases = ggmlCases("llama-spm");
      expect(cases).toHaveLength(46);
      for (const { text, ids } of cases) {
        expect([...load(modelFile).encode(text)], JSON.stringify(text)).toEqual(ids);
        expect(load(modelFile).decode(ids)).toBe(text);
      }
    },
  );

  testShared("gives the library's tokens for real and random text", [jsonFile, ...realTextFiles], () => {
    const library = createTokenizer(load(jsonFile).toJson(), { engine: "general" });
    // The library runs a whole text as one word, in a time that grows with its square: short texts.
    expectSame(
      load(jsonFile),
      library,
      realTexts(60_000).map((text) => text.slice(0, 1500)),
    );
    expectSame(load(jsonFile), library, fc.sample(roughText(), { seed: 9, numRuns: 1000 }));
  });

  testShared("gives any text back, but for its own mark for a space", [jsonFile], () => {
    fc.assert(
      fc.property(roughText({ without: "\u2581" }), (text) => {
        const plain = text.replaceAll("</s>", "").replace(/\p{Surrogate}/gu, "\ufffd");
        expect(load(jsonFile).decode(load(jsonFile).encode(plain))).toBe(plain);
      }),
      { seed: 10, numRuns: 1000 },
    );
    expect(load(jsonFile).decode(load(jsonFile).encode("a\u2581b"))).toBe("a b");
  });

  testShared("begins a text with <s>, has </s> between documents, and leaves both out where asked", [jsonFile], () => {
    const { bos, eos, endOfText } = load(jsonFile);
    expect([bos, eos, endOfText]).toEqual([1, 2, 2]);
    const ids = load(jsonFile).encode("Hello", { addSpecialTokens: true });
    expect([...ids]).toEqual([1, 15043]);
    expect(load(jsonFile).decode(ids)).toBe("<s> Hello");
    expect(load(jsonFile).decode(ids, { skipSpecialTokens: true })).toBe("Hello");
  });
});

describe("small SentencePiece models that remove extra spaces", () => {
  testShared(
    "give the ids of golden.json's prompts",
    ["data/weights/golden.json", "data/weights/tok512.model", "data/weights/tok105.model"],
    () => {
      const { models } = JSON.parse(readFileSync(sharedPath("data/weights/golden.json"), "utf8"));
      for (const [model, file] of [
        ["stories260K.bin", "tok512.model"],
        ["babyllama-tok105.bin", "tok105.model"],
      ]) {
        const tokenizer = loadTokenizer(sharedPath(`data/weights/${file}`));
        const { prompt, prompt_ids } = models[model];
        expect([...tokenizer.encode(prompt, { addSpecialTokens: true })]).toEqual(prompt_ids);
        expect(tokenizer.decode(tokenizer.encode("  Once   upon  "))).toBe("Once upon");
      }
    },
  );

  testShared(
    "give the library's tokens for random text",
    ["data/weights/tok512.model", "data/weights/tok105.model"],
    () => {
      for (const file of ["tok512.model", "tok105.model"]) {
        const ours = loadTokenizer(sharedPath(`data/weights/${file}`));
        const library = createTokenizer(ours.toJson(), { engine: "general" });
        const texts = fc.sample(roughText(), { seed: 11, numRuns: 1000 });
        // Of a text with nothing but spaces the library makes one, SentencePiece (and we) nothing.
        expectSame(
          ours,
          library,
          texts.filter((text) => /[^ \u2581]/.test(text)),
        );
      }
    },
  );
});

describe("characters", () => {
  const texts = ["25 + 17 = 42", "100 - 35 = 65<|endoftext|>", "é😀\n"];

  test("has one token for each character of the text, by code point, after the special tokens", async () => {
    const { tokenizer, report } = await trainCharacters(texts);
    expect(Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.tokenOf(id))).toEqual([
      "<|endoftext|>",
      "\n",
      " ",
      "+",
      "-",
      "0",
      "1",
      "2",
      "3",
      "4",
      "5",
      "6",
      "7",
      "=",
      "é",
      "😀",
    ]);
    expect(report).toMatchObject({ documents: 3, distinct: 15, vocabSize: 16 });
    expect(tokenizer.endOfText).toBe(0);
    expect([...tokenizer.encode("7 = é😀<|endoftext|>")]).toEqual([12, 2, 13, 2, 14, 15, 0]);
    expect((await trainCharacters([...texts].reverse())).tokenizer.hash).toBe(tokenizer.hash);
  });

  test("gives any text of its characters back, and the library's tokens", async () => {
    const { tokenizer } = await trainCharacters(texts);
    const library = createTokenizer(tokenizer.toJson(), { engine: "general" });
    const characters = fc.string({ unit: fc.constantFrom(..."0124567 +-=é😀\n"), maxLength: 50 });
    fc.assert(
      fc.property(characters, (text) => {
        expectSame(tokenizer, library, [text]);
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { seed: 12, numRuns: 300 },
    );
  });

  test("refuses a character that it has not seen, naming it and its place", async () => {
    const { tokenizer } = await trainCharacters(texts);
    expect(() => tokenizer.encode("25 + x = 42")).toThrow(
      'tokenizer characters-16: "x" (U+0078) at character 5 (in "25 + x = 42") is not in the vocabulary of 16',
    );
  });

  test("spells unseen characters in bytes where asked, and gives any text back", async () => {
    const { tokenizer } = await trainCharacters(texts, { unknown: "bytes" });
    expect(tokenizer.vocabSize).toBe(16 + 256);
    const library = createTokenizer(tokenizer.toJson(), { engine: "general" });
    fc.assert(
      fc.property(roughText(), (text) => {
        expectSame(tokenizer, library, [text]);
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.replace(/\p{Surrogate}/gu, "\ufffd"));
      }),
      { seed: 13, numRuns: 500 },
    );
  });

  test("refuses a text with none, too many, or a special token that is one", async () => {
    await expect(trainCharacters([])).rejects.toThrow("the text to train on is empty (0 documents)");
    await expect(trainCharacters(texts, { maxVocabSize: 10 })).rejects.toThrow(
      "the text has 15 different characters, which makes 16 tokens; expected at most 10",
    );
    await expect(trainCharacters(texts, { specialTokens: ["="] })).rejects.toThrow(
      'special token "=" is an ordinary token',
    );
    await expect(trainCharacters(texts, { unknown: "skip" as "error" })).rejects.toThrow('expected "error" or "bytes"');
  });
});
