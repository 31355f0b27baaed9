// Oracles: llama.cpp's 46 texts for GPT-2 and LLaMA-3; a token shard that others made of TinyStories with GPT-2's
// tokenizer; what Hugging Face's tokenizers 0.23.3 (Rust) gives for two odd spaces, written out below; and our general
// engine, which shares no code with this one and is held to that library in general/general.test.ts.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import {
  ggmlCases,
  ggmlFiles,
  gpt2Files,
  gpt2Json,
  realTextFiles,
  realTexts,
  roughText,
} from "../../test/support/tokenizers.ts";
import { createTokenizer, loadTokenizer } from "./load.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { trainBpe } from "./train-bpe.ts";

const llama3File = "data/tokenizers/llama3.tokenizer.model";

function expectSame(ours: Tokenizer, library: Tokenizer, texts: Iterable<string>): void {
  expect(ours.engine).toBe("byte-level");
  expect(library.engine).toBe("general");
  for (const text of texts) {
    const ids = ours.encode(text);
    const expected = library.encode(text);
    if (ids.length !== expected.length || ids.some((id, i) => id !== expected[i])) {
      // Slow to print, so only where they differ.
      const named = (from: Tokenizer, list: Int32Array) => [...list].map((id) => from.tokenOf(id));
      expect(named(ours, ids), JSON.stringify(text.slice(0, 80))).toEqual(named(library, expected));
    }
    const whole = text.replace(/\p{Surrogate}/gu, "\ufffd");
    if (ours.decode(ids) !== whole) expect(ours.decode(ids)).toBe(whole);
  }
}

describe("a tokenizer trained here", () => {
  let ours: Tokenizer;
  let library: Tokenizer;
  beforeAll(async () => {
    const texts = [
      "It's the cat's hat. We'll see, they've 12,345 hats!\n\n  The\tend…",
      "Führer 😀 漢字かな 한국어 the the hat hats",
    ];
    ours = (await trainBpe(texts, { vocabSize: 310, minFrequency: 1, specialTokens: ["<|endoftext|>", "<|end|>"] }))
      .tokenizer;
    library = createTokenizer(ours.toJson(), { engine: "general" });
  });

  test("gives the general engine's tokens, and the text back, for random Unicode", () => {
    fc.assert(
      fc.property(roughText(), (text) => expectSame(ours, library, [text])),
      { seed: 5, numRuns: 2000 },
    );
  });

  test("gives the general engine's tokens, and the text back, for random bytes read as UTF-8", () => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => expectSame(ours, library, [decoder.decode(bytes)])),
      { seed: 6, numRuns: 500 },
    );
  });

  test("takes the longest special token, leftmost first, or none where asked", () => {
    const text = "a<|endoftext|><|end|>b<|endoftext";
    expect([...ours.encode(text)].filter((id) => id < 2)).toEqual([0, 1]);
    expect(ours.decode(ours.encode(text))).toBe(text);
    expect(ours.decode(ours.encode(text), { skipSpecialTokens: true })).toBe("ab<|endoftext");
    const plain = ours.encode(text, { parseSpecialTokens: false });
    expect([...plain].some((id) => id < 2)).toBe(false);
    expect(ours.decode(plain)).toBe(text);
  });

  test("gives the same tokens after its cache of pre-tokens was full and emptied", () => {
    const before = ours.encode("the cat's hat");
    for (let i = 0; i < 140_000; i += 1000) {
      let many = "";
      for (let j = i; j < i + 1000; j++) many += ` x${String.fromCodePoint(0x4e00 + (j % 20000))}${"abcdefg"[j % 7]}`;
      ours.encode(many);
    }
    expect(ours.encode("the cat's hat")).toEqual(before);
  });

  test("encodes a pre-token of a million letters", () => {
    const text = "thehat".repeat(170_000);
    expect(ours.decode(ours.encode(text))).toBe(text);
  });

  test("encodes nothing as nothing, and decodes ids that are no tokens to nothing", () => {
    expect(ours.encode("")).toEqual(new Int32Array(0));
    expect(ours.decode([])).toBe("");
    expect(ours.decode([310, -1, 5])).toBe(ours.decode([5]));
  });

  testShared("gives the general engine's tokens, and the text back, for real text", realTextFiles, () => {
    expectSame(ours, library, realTexts(150_000));
  });
});

describe("GPT-2", () => {
  let made: Tokenizer | undefined;
  const load = () => {
    made ??= createTokenizer(gpt2Json());
    return made;
  };

  testShared("gives llama.cpp's ids for its 46 texts", [...gpt2Files, ...ggmlFiles("gpt-2")], () => {
    const gpt2 = load();
    const cases = ggmlCases("gpt-2");
    expect(cases).toHaveLength(46);
    for (const { text, ids } of cases) expect([...gpt2.encode(text)], JSON.stringify(text)).toEqual(ids);
  });

  const shard = ["data/tinystories/gpt2-ids.val.u16.bin", "data/tinystories/slices/gpt2-ids.val.txt.gz"];
  testShared("gives the 622,159 ids of the TinyStories shard, and its text back", [...gpt2Files, ...shard], () => {
    const gpt2 = load();
    const bytes = readFileSync(sharedPath(shard[0]));
    const expected = Int32Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i));
    const text = gunzipSync(readFileSync(sharedPath(shard[1]))).toString("utf8");
    const ids = gpt2.encode(text);
    expect(ids.length).toBe(622_159);
    expect(Buffer.compare(Buffer.from(ids.buffer), Buffer.from(expected.buffer))).toBe(0);
    expect(gpt2.decode(expected) === text).toBe(true);
  });

  testShared(
    "gives the general engine's tokens, and the text back, for real and random text",
    [...gpt2Files, ...realTextFiles],
    () => {
      const gpt2 = load();
      const library = createTokenizer(gpt2Json(), { engine: "general" });
      expectSame(gpt2, library, realTexts(300_000));
      expectSame(gpt2, library, fc.sample(roughText(), { seed: 7, numRuns: 2000 }));
    },
  );

  testShared("takes U+FEFF for no white space and U+0085 for one, as the Rust library", gpt2Files, () => {
    const gpt2 = load();
    const rust = [64, 27332, 119, 123, 65, 126, 227, 269];
    expect([...gpt2.encode("a \ufeffb\u0085 c")]).toEqual(rust);
    const library = createTokenizer(gpt2Json(), { engine: "general" });
    expect([...library.encode("a \ufeffb\u0085 c")]).toEqual(rust);
  });
});

describe("LLaMA-3", () => {
  let llama3: Tokenizer;
  const load = () => {
    llama3 ??= loadTokenizer(sharedPath(llama3File));
    return llama3;
  };

  testShared("gives llama.cpp's ids for its 46 texts", [llama3File, ...ggmlFiles("llama-bpe")], () => {
    const cases = ggmlCases("llama-bpe");
    expect(cases).toHaveLength(46);
    for (const { text, ids } of cases) expect([...load().encode(text)], JSON.stringify(text)).toEqual(ids);
  });

  testShared("has 128,256 tokens, 256 of them special, and begins a text as asked", [llama3File], () => {
    expect(load().vocabSize).toBe(128_256);
    expect(load().specialTokens.size).toBe(256);
    expect([load().bos, load().eos, load().endOfText]).toEqual([128_000, 128_001, 128_001]);
    expect([...load().encode("<|eot_id|>", { addSpecialTokens: true })]).toEqual([128_000, 128_009]);
  });

  testShared(
    "gives the general engine's tokens, and the text back, for real and random text",
    [llama3File, ...realTextFiles],
    () => {
      const library = createTokenizer(load().toJson(), { engine: "general" });
      expectSame(load(), library, realTexts(60_000));
      expectSame(load(), library, fc.sample(roughText(), { seed: 8, numRuns: 1000 }));
    },
  );
});
