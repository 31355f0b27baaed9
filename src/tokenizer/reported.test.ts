// Oracle: the ids beside each reported file, which the Rust library `tokenizers` 0.23.3 gave.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { createTokenizer, loadTokenizer } from "./load.ts";

for (const [folder, options] of [
  ["03-added-tokens-not-special", { parseSpecialTokens: false }],
  ["08-added-token-single-word", {}],
  ["09-split-behaviour/contiguous", {}],
  ["09-split-behaviour/merged_with_next", {}],
  ["09-split-behaviour/merged_with_previous", {}],
  ["11-whitespace-pretokenizer-letters", {}],
] as const) {
  const [file, expected] = ["tokenizer.json", "expected.txt"].map((name) => `faults/${folder}/${name}`);
  testShared(`${folder}: the library's ids`, [file, expected], () => {
    const lines = [
      ...readFileSync(sharedPath(expected), "utf8").matchAll(/^("(?:[^"\\]|\\.)*") {2}-> {2}([\d ]*\d)/gm),
    ];
    expect(lines.length).toBeGreaterThan(2);
    for (const engine of [undefined, "general"] as const) {
      const tokenizer = loadTokenizer(sharedPath(file), { engine });
      for (const [, text, ids] of lines)
        expect([...tokenizer.encode(JSON.parse(text), options)].join(" "), text).toBe(ids);
    }
  });
}

test("a word of 200,000 characters has its tokens, by Unigram and by BPE without a pre-tokenizer", () => {
  const vocab = [
    ["<unk>", 0],
    ["1", -2],
    ["11", -3],
    ["1111", -8],
  ];
  const unigram = createTokenizer({ model: { type: "Unigram", unk_id: 0, vocab, byte_fallback: false } });
  expect(unigram.encode("1".repeat(200_000)).length).toBe(100_000);
  const merges = ["1 1", "11 11"];
  const model = { type: "BPE", vocab: { "1": 0, "11": 1, "1111": 2, x: 3 }, merges, end_of_word_suffix: "x" };
  const bpe = createTokenizer({ model });
  expect(bpe.engine).toBe("general");
  expect(() => bpe.encode("1".repeat(200_000))).toThrow('"1" (U+0031), in a text of 200000 characters, is not in');
  const plain = createTokenizer({ model: { ...model, end_of_word_suffix: null } }, { engine: "general" });
  expect(plain.encode("1".repeat(200_000)).length).toBe(50_000);
});
