// Tokenizers as GGUF metadata and back. Oracles: files that llama.cpp's converter wrote and the ids that llama.cpp expects of
// them (shared data). llama.cpp itself is asked in test/judges/.
import { join } from "node:path";
import { expect, test } from "vitest";
import { ggmlCases, ggmlFiles, gpt2Files, gpt2Json } from "../../../test/support/tokenizers.ts";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { readGguf, writeGguf } from "../../formats/gguf/index.ts";
import { loadTokenizer, type Tokenizer, trainBpe, trainCharacters } from "../../tokenizer/index.ts";
import { createTokenizer } from "../../tokenizer/load.ts";
import { tokenizerFromGguf } from "./tokenizer-from-gguf.ts";
import { tokenizerToGguf } from "./tokenizer-to-gguf.ts";

const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
  vocabSize: 280,
});
const path = () => join(temporaryFolder(), "vocabulary.gguf");
const sameJson = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/** A tokenizer's keys through a file, as a tokenizer. */
async function through(own: Tokenizer, startToken: number | null = own.bos ?? own.endOfText) {
  const { entries, notes } = tokenizerToGguf(own, { vocabSize: own.vocabSize + 3, startToken });
  const file = path();
  await writeGguf(file, entries, []);
  const gguf = readGguf(file);
  const back = tokenizerFromGguf(gguf.metadata, file)!.tokenizer;
  const keys = gguf.metadata;
  gguf.close();
  return { back, keys, notes };
}
const hard = [
  "the cat sat",
  "  two  spaces and\n\nlines\ttabs",
  "12345 it's <|endoftext|> \u00e9\u6f22 \ud83d\ude00 zero\u0000",
];

test("byte-level BPE: keys as llama.cpp wants them, unused ids named, the same tokens when read back", async () => {
  const { back, keys } = await through(tokenizer);
  expect(keys.text("tokenizer.ggml.model")).toBe("gpt2");
  expect(keys.text("tokenizer.ggml.pre")).toBe("gpt-2");
  const V = tokenizer.vocabSize;
  expect(keys.texts("tokenizer.ggml.tokens").slice(V - 1)).toEqual([
    tokenizer.tokenOf(V - 1),
    ...[V, V + 1, V + 2].map((id) => `[PAD${id}]`),
  ]);
  expect([...keys.findNumbers("tokenizer.ggml.token_type")!.slice(-3)]).toEqual([5, 5, 5]);
  expect(keys.findNumbers("tokenizer.ggml.token_type")![tokenizer.endOfText!]).toBe(3);
  expect(keys.count("tokenizer.ggml.bos_token_id", 0)).toBe(tokenizer.endOfText);
  expect(back).toMatchObject({ engine: "byte-level", vocabSize: V, eos: tokenizer.eos, bos: tokenizer.endOfText });
  for (const sample of hard) expect(back.encode(sample)).toEqual(tokenizer.encode(sample));
  expect([...back.encode("the", { addSpecialTokens: true })]).toEqual([
    tokenizer.endOfText,
    ...tokenizer.encode("the"),
  ]);
});

test("characters with bytes for the unknown: SentencePiece without a space in front, and the same tokens when read back", async () => {
  const own = (await trainCharacters(["the cat sat on a mat.\n"], { unknown: "bytes" })).tokenizer;
  const { back, keys } = await through(own);
  expect(keys.text("tokenizer.ggml.model")).toBe("llama");
  expect(keys.findBool("tokenizer.ggml.add_space_prefix")).toBe(false);
  for (const sample of hard) expect(back.encode(sample)).toEqual(own.encode(sample));
  expect(back.decode(own.encode(hard[1]))).toBe(hard[1]);
});

test("characters without bytes are refused: llama.cpp ends at one that it does not know", async () => {
  const own = (await trainCharacters(["the cat"])).tokenizer;
  expect(() => tokenizerToGguf(own, { vocabSize: own.vocabSize, startToken: 0 })).toThrow(/has no tokens for bytes/);
});

test("a tokenizer that joins less than SentencePiece would is refused", () => {
  const json = structuredClone(createTokenizer(spm(["ab", "abc"])).toJson());
  json.model.merges = ["a b"];
  const own = createTokenizer(json, { name: "partial" });
  expect(() => tokenizerToGguf(own, { vocabSize: own.vocabSize, startToken: null })).toThrow(
    /does not join "ab c" though the two make a token/,
  );
});

/** A SentencePiece-like tokenizer.json with these pieces beside bytes, the mark and letters. */
function spm(pieces: string[]) {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, "\u2581", "a", "b", "c", ...pieces];
  const special = (content: string, id: number) => ({ id, content, special: true, normalized: false });
  return {
    added_tokens: ["<unk>", "<s>", "</s>"].map(special),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ["a b", "ab c"],
    },
  };
}

for (const [name, file] of [
  ["gpt-2", "data/tokenizers/ggml-vocab-gpt-2.gguf"],
  ["llama-spm", "data/tokenizers/ggml-vocab-llama-spm.gguf"],
] as const)
  testShared(
    `the vocabulary that llama.cpp's converter wrote for ${name} gives the ids that llama.cpp expects`,
    [file, ...ggmlFiles(name)],
    () => {
      const gguf = readGguf(sharedPath(file));
      const back = tokenizerFromGguf(gguf.metadata, name)!.tokenizer;
      gguf.close();
      for (const { text: sample, ids } of ggmlCases(name))
        expect([...back.encode(sample)], JSON.stringify(sample)).toEqual(ids);
    },
  );

testShared(
  "GPT-2's own tokenizer is written as llama.cpp's converter wrote it",
  [...gpt2Files, "data/tokenizers/ggml-vocab-gpt-2.gguf"],
  async () => {
    const { entries } = tokenizerToGguf(createTokenizer(gpt2Json(), { name: "gpt2" }), {
      vocabSize: 50257,
      startToken: 50256,
    });
    const gguf = readGguf(sharedPath("data/tokenizers/ggml-vocab-gpt-2.gguf"));
    const ours = new Map(entries);
    for (const key of ["model", "pre", "tokens", "merges", "bos_token_id", "eos_token_id"].map(
      (k) => `tokenizer.ggml.${k}`,
    ))
      expect(sameJson(ours.get(key), gguf.metadata.get(key)), key).toBe(true);
    gguf.close();
  },
);

testShared(
  "LLaMA-2's is written with the tokens and kinds of llama.cpp's converter, its scores in the same order",
  ["data/tokenizers/llama2.tokenizer.json", "data/tokenizers/ggml-vocab-llama-spm.gguf"],
  async () => {
    const own = loadTokenizer(sharedPath("data/tokenizers/llama2.tokenizer.json"));
    const ours = new Map(tokenizerToGguf(own, { vocabSize: 32000, startToken: own.bos }).entries);
    const gguf = readGguf(sharedPath("data/tokenizers/ggml-vocab-llama-spm.gguf"));
    for (const key of ["tokens", "token_type", "bos_token_id", "eos_token_id", "unknown_token_id"].map(
      (k) => `tokenizer.ggml.${k}`,
    ))
      expect(sameJson(ours.get(key), gguf.metadata.get(key)), key).toBe(true);
    const theirs = gguf.metadata.findNumbers("tokenizer.ggml.scores")!;
    const scores = (ours.get("tokenizer.ggml.scores") as unknown as { values: Float32Array }).values;
    // Of tokens that merges make, which alone are joined by score.
    const made = [...theirs.keys()].filter((id) => scores[id] < 0);
    expect(made.length).toBeGreaterThan(29_000);
    const byTheirs = [...made].sort((a, b) => theirs[b] - theirs[a] || a - b);
    const byOurs = [...made].sort((a, b) => scores[b] - scores[a] || a - b);
    expect(byOurs.join() === byTheirs.join()).toBe(true);
    gguf.close();
  },
);
