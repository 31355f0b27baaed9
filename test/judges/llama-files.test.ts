// GGUF files as other programs write them, judged by llama.cpp itself (node-llama-cpp): each name of tokenizer.ggml.pre cuts
// the same lines into the same tokens, and the same tokens end generation. Oracle: llama.cpp.
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { endNames } from "../../src/exchange/gguf/end-tokens.ts";
import { preTokenizers } from "../../src/exchange/gguf/pre-tokenizers.ts";
import { tokenizerFromGguf } from "../../src/exchange/gguf/tokenizer-from-gguf.ts";
import { tokenizerToGguf } from "../../src/exchange/gguf/tokenizer-to-gguf.ts";
import { type GgufValue, readGguf, text, texts, u32, writeGguf } from "../../src/formats/gguf/index.ts";
import { byteToChar } from "../../src/tokenizer/byte-alphabet.ts";
import { trainBpe } from "../../src/tokenizer/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { realTextFiles, realTexts } from "../support/tokenizers.ts";
import { askLlama, dismissLlama, testJudge } from "./support/llama.ts";

afterAll(dismissLlama);

/** Names that node-llama-cpp's llama.cpp does not know: other programs', or newer ones. */
const unknownThere = ["falcon_e"];

const hard = [
  "IT'S we'Ll 12345678 1,234.56 x1y22z333",
  "  two  spaces\n\n\nlines \t tabs\r\n  end  ",
  "f(x)=a^2+b|c~d$ <tag> #!/bin/sh -- ... !!!\n",
  "caf\u00e9 na\u00efve \u6f22\u5b57\u4eee\u540d \u0e44\u0e17\u0e22 \ud83d\ude00\ud83d\ude03 e\u0301 \u0967\u0968\u0969 \u00bd",
];

testJudge("each name of tokenizer.ggml.pre cuts as llama.cpp does", realTextFiles, async () => {
  const { tokenizer } = await trainBpe(realTexts(60_000), { vocabSize: 1200 });
  const lines = [
    ...hard,
    ...realTexts(60_000)
      .flatMap((document) => document.split("\n"))
      .filter((line) => line.trim() !== "")
      .slice(0, 200),
  ];
  const V = tokenizer.vocabSize;
  const { entries } = tokenizerToGguf(tokenizer, { vocabSize: V, startToken: tokenizer.endOfText });
  for (const name of preTokenizers.keys()) {
    if (unknownThere.includes(name)) continue;
    const path = join(temporaryFolder(), `${name}.gguf`);
    const keys = entries.map(([key, value]): [string, GgufValue] => [key, key.endsWith(".pre") ? text(name) : value]);
    await writeGguf(path, [["general.architecture", text("llama")], ["llama.vocab_size", u32(V)], ...keys], []);
    const { tokens } = await askLlama({ model: path, vocabOnly: true, lines });
    const gguf = readGguf(path);
    const own = tokenizerFromGguf(gguf.metadata, path)!.tokenizer;
    gguf.close();
    const differ = lines.filter(
      (line, i) => tokens![i].join() !== own.encode(line, { parseSpecialTokens: false }).join(),
    );
    expect(differ, name).toEqual([]);
  }
});

testJudge("the same tokens end generation", [], async () => {
  const names = [
    ...endNames,
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<PAD>",
    "<|fim_prefix|>",
    "<a>",
    "<b>",
    "<c>",
  ];
  const ends = ["eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep", "bos", "unknown", "padding", "fim_pre"];
  const cases: { tokens: string[]; key?: string }[] = [
    ...names.map((name) => ({ tokens: [name, "<a>x"] })),
    ...ends.map((key) => ({ tokens: ["<a>", "<b>"], key })),
    // With an end of turn of their own: else node-llama-cpp counts "<|end|>", found by its name, where llama.cpp does not.
    { tokens: ["<|end|>", "<|return|>", "<|call|>"], key: "eot" },
    { tokens: ["<|end|>", "<|calls|>", "<|flush|>"], key: "eot" },
    { tokens: ["<|end|>", "<|return|>"] },
    { tokens: ["</s>", "<|tool_response>"] },
    { tokens: ["</s>", "<eos>"] },
  ];
  for (const { tokens, key } of cases) {
    const all = [...byteToChar, ...tokens, "ab"];
    const path = join(temporaryFolder(), "vocabulary.gguf");
    const metadata: [string, GgufValue][] = [
      ["general.architecture", text("llama")],
      ["llama.vocab_size", u32(all.length)],
      ["tokenizer.ggml.model", text("gpt2")],
      ["tokenizer.ggml.pre", text("gpt-2")],
      ["tokenizer.ggml.tokens", texts(all)],
      [
        "tokenizer.ggml.token_type",
        { type: "array", of: "i32", values: Int32Array.from(all, (token, i) => (i < 256 || token === "ab" ? 1 : 3)) },
      ],
      ["tokenizer.ggml.merges", texts(["a b"])],
      // Without them llama.cpp takes 11 for both.
      ["tokenizer.ggml.bos_token_id", u32(key === "bos" ? 257 : 0)],
      ["tokenizer.ggml.eos_token_id", u32(key === "eos" ? 257 : 0)],
    ];
    if (key && key !== "eos" && key !== "bos") metadata.push([`tokenizer.ggml.${key}_token_id`, u32(257)]);
    await writeGguf(path, metadata, []);
    const { ends: theirs } = await askLlama({ model: path, vocabOnly: true, ends: all.length });
    const gguf = readGguf(path);
    const ours = tokenizerFromGguf(gguf.metadata, path)!.endTokens;
    gguf.close();
    expect(ours, JSON.stringify({ tokens, key })).toEqual(theirs);
  }
});
