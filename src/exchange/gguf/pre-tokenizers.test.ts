// What a GGUF file says of its tokens, and what it leaves out. Oracles: files in the shape that bitnet.cpp's converter writes,
// with a twin that says "llama-bpe" (shared data, each with its expected text); llama.cpp's set of tokens that end generation
// (src/llama-vocab.cpp). Cuts by name are held to llama.cpp itself in test/judges/.
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type GgufKeys, rewriteGguf } from "../../../test/support/rewrite-gguf.ts";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { GgufMetadata, type GgufValue, text, texts, u32 } from "../../formats/gguf/index.ts";
import { createTokenizer } from "../../tokenizer/index.ts";
import { formatTokenizerJson } from "../../tokenizer/tokenizer-json.ts";
import { byteToChar } from "../../tokenizer/byte-alphabet.ts";
import { endTokensOfGguf } from "./end-tokens.ts";
import { openGgufModel } from "./index.ts";
import { otherPreTokenizers, preTokenizers } from "./pre-tokenizers.ts";
import { tokenizerFromGguf } from "./tokenizer-from-gguf.ts";

const twin = "faults/01-official-gguf-without-pre/with-pre.gguf";
const without = "faults/01-official-gguf-without-pre/without-pre.gguf";
const samples = [
  "the river and 12345",
  "It's 3.14\n\n  ok",
  "THE END'S NEAR ... 1234567",
  "caf\u00e9 \u6f22\u5b57 \ud83d\ude00",
];

const opened = (path: string, pre?: string) => {
  const { file, tokenizer, notes, endTokens } = openGgufModel(path, { pre });
  file.close();
  return {
    hash: tokenizer!.hash,
    ids: samples.map((sample) => [...tokenizer!.encode(sample, { addSpecialTokens: true })]),
    notes,
    endTokens,
  };
};
/** A shared file in a folder of its own, where a tokenizer can stand beside it. */
const copied = (path: string) => {
  const copy = join(temporaryFolder(), "model.gguf");
  copyFileSync(sharedPath(path), copy);
  return copy;
};

testShared(
  "without tokenizer.ggml.pre a vocabulary of LLaMA-3's is cut as LLaMA-3's, with a note",
  [twin, without],
  () => {
    const named = opened(sharedPath(twin));
    const found = opened(sharedPath(without));
    expect(named.notes).toEqual([]);
    expect(found.ids).toEqual(named.ids);
    expect(found.ids[0][0]).toBe(284); // <|begin_of_text|>
    expect(found.notes).toEqual([expect.stringMatching(/has no tokenizer.ggml.pre: text is cut by LLaMA-3's.*--pre/)]);
  },
);

testShared("falcon3 and falcon_e cut as llama-bpe, and so does every name of its kind", [twin], async () => {
  const named = opened(sharedPath(twin)).ids;
  for (const name of ["falcon3", "falcon_e"])
    expect(opened(sharedPath(`faults/02-pre-tokenizers-of-llama3s-kind/${name}.gguf`)).ids).toEqual(named);
  for (const name of ["llama3", "llama-v3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"])
    expect(opened(sharedPath(twin), name).ids, name).toEqual(named);
});

testShared("--pre takes the place of the file's own word", [twin], () => {
  const gpt2 = opened(sharedPath(twin), "gpt-2");
  expect(gpt2.hash).not.toBe(opened(sharedPath(twin)).hash);
  expect(gpt2.notes).toEqual([]);
  expect(() => opened(sharedPath(twin), "tekken")).toThrow(/--pre is "tekken", which cuts text in a way/);
  expect(() => opened(sharedPath(twin), "lama")).toThrow(/--pre is "lama", which is unknown/);
});

testShared(
  "a tokenizer.json beside a file that does not say how text is cut is used, if its tokens are the file's",
  [twin, without],
  async () => {
    const copy = copied(without);
    const beside = join(copy, "..", "tokenizer.json");
    const { file, tokenizer } = openGgufModel(sharedPath(twin), { pre: "gpt-2" });
    file.close();
    writeFileSync(beside, formatTokenizerJson(tokenizer!.toJson()));
    const found = opened(copy);
    expect(found.notes).toEqual(["has no tokenizer.ggml.pre; the tokenizer beside the file is used"]);
    expect(found.hash).toBe(opened(sharedPath(twin), "gpt-2").hash);
    const unknown = await rewriteGguf(copy, (keys) => void keys.set("tokenizer.ggml.pre", text("tekken")));
    expect(opened(unknown).notes).toEqual([
      'tokenizer.ggml.pre "tekken" cannot be run; the tokenizer beside the file is used',
    ]);
    const other = tokenizer!.toJson();
    writeFileSync(beside, formatTokenizerJson({ ...other, model: { ...other.model, merges: [] } }));
    expect(opened(copy, "llama3").notes).toEqual([]);
    const vocab = { ...(other.model.vocab as Record<string, number>) };
    const [[one, i], [two, j]] = Object.entries(vocab);
    Object.assign(vocab, { [one]: j, [two]: i });
    writeFileSync(beside, formatTokenizerJson({ ...other, model: { ...other.model, vocab, merges: [] } }));
    expect(() => opened(copy)).toThrow(
      /the tokenizer beside the file has .* as token \d+.*they do not belong together/,
    );
  },
);

test("no name is both run and refused", () => {
  expect(otherPreTokenizers.filter((name) => preTokenizers.has(name))).toEqual([]);
  for (const [name, { patterns }] of preTokenizers)
    for (const pattern of patterns)
      expect(() => new RegExp(pattern.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", ""), "u"), name).not.toThrow();
});

/** Metadata of a byte-level vocabulary with these tokens behind the bytes. */
const metadataOf = (
  tokens: readonly string[],
  more: Record<string, GgufValue> = {},
  types: Record<string, number> = {},
) => {
  const all = [...byteToChar, ...tokens];
  const kindOf = Int32Array.from(all, (token) => types[token] ?? (tokens.includes(token) ? 3 : 1));
  const keys: GgufKeys = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("gpt-2")],
    ["tokenizer.ggml.tokens", texts(all)],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", values: kindOf }],
    ["tokenizer.ggml.merges", texts([])],
    ...Object.entries(more).map(([key, value]): [string, GgufValue] => [`tokenizer.ggml.${key}`, value]),
  ]);
  return new GgufMetadata(keys, "made.gguf");
};

testShared("the end of a turn that a file names ends generation", ["faults/05-eot-token-id/eot.gguf"], () => {
  expect(opened(sharedPath("faults/05-eot-token-id/eot.gguf")).endTokens).toEqual([285, 286]);
});

test("every key and every name that llama.cpp counts among the ends of generation", () => {
  const ends = (tokens: readonly string[], more: Record<string, GgufValue> = {}) =>
    tokenizerFromGguf(metadataOf(tokens, more), "made.gguf")!.endTokens.map((id) => tokens[id - 256]);
  for (const key of ["eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"])
    expect(ends(["<a>", "<b>"], { [`${key}_token_id`]: u32(257) }), key).toEqual(["<b>"]);
  for (const key of ["bos", "unknown", "padding", "fim_pre", "fim_suf", "fim_mid"])
    expect(ends(["<a>", "<b>"], { [`${key}_token_id`]: u32(257) }), key).toEqual([]);
  for (const name of [
    "<|eot_id|>",
    "<|im_end|>",
    "</s>",
    "<end_of_turn>",
    "<|file_sep|>",
    "[PAD]",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
  ])
    expect(ends([name, "<x>"])).toEqual([name]);
  expect(ends(["<|end|>", "<|return|>", "<|call|>"])).toEqual(["<|return|>", "<|call|>"]);
  expect(ends(["<|end|>", "<|return|>"])).toEqual(["<|end|>", "<|return|>"]);
  expect(ends(["</s>", "<|tool_response>", "<eos>"])).toEqual(["<|tool_response>", "<eos>"]);
  expect(
    endTokensOfGguf(
      () => undefined,
      () => null,
    ),
  ).toEqual({ ids: [], named: [] });
});

test("a token named as an end is a control token, whatever its type says", () => {
  const metadata = metadataOf(["<|im_end|>"], {}, { "<|im_end|>": 4 });
  const { tokenizer } = tokenizerFromGguf(metadata, "made.gguf")!;
  expect(tokenizer.specialTokens.get("<|im_end|>")).toBe(256);
  expect([...tokenizer.encode("a<|im_end|>")]).toEqual([...tokenizer.encode("a"), 256]);
});

test("begin-of-text stands before a text where the file or its pre-tokenizer's name says so", () => {
  const first = (pre: string, more: Record<string, GgufValue> = {}) => {
    const metadata = metadataOf(["<s>"], { pre: text(pre), bos_token_id: u32(256), ...more });
    return tokenizerFromGguf(metadata, "made.gguf")!.tokenizer.encode("a", { addSpecialTokens: true })[0] === 256;
  };
  expect(first("llama-bpe")).toBe(true);
  expect(first("gpt-2")).toBe(false);
  expect(first("qwen2")).toBe(false);
  expect(first("gpt-2", { add_bos_token: { type: "bool", value: true } })).toBe(true);
  expect(first("llama-bpe", { add_bos_token: { type: "bool", value: false } })).toBe(false);
});

test("a token without text is named as llama.cpp names it", () => {
  const { tokenizer } = tokenizerFromGguf(metadataOf(["", "<x>"]), "made.gguf")!;
  expect(tokenizer.tokenOf(256)).toBe("[EMPTY_256]");
  expect(createTokenizer(tokenizer.toJson()).vocabSize).toBe(258);
});
