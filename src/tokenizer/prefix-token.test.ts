// A tokenizer that carries the token before a text. Oracle: TemplateProcessing as Hugging Face's tokenizers define it
// (transformers 5.24 with tokenizers 0.23.3 put the same token before "The" for a folder exported with it).
import { expect, test } from "vitest";
import { createTokenizer, type TokenizerJson, trainBpe, withPrefixToken } from "./index.ts";

const { tokenizer } = await trainBpe(["the cat sat on the mat"], { vocabSize: 270 });
const end = tokenizer.endOfText!;
const marked = (one: typeof tokenizer) => [...one.encode("the", { addSpecialTokens: true })];
const plain = [...tokenizer.encode("the")];

test("puts the token before a text, names it begin-of-text, and changes nothing else", () => {
  const own = withPrefixToken(tokenizer, end);
  expect(marked(own)).toEqual([end, ...plain]);
  expect([...own.encode("the")]).toEqual(plain);
  expect(own).toMatchObject({ bos: end, eos: tokenizer.eos, endOfText: end, engine: tokenizer.engine });
  expect(own.toJson().post_processor).toMatchObject({
    type: "Sequence",
    processors: [{ type: "ByteLevel" }, { type: "TemplateProcessing" }],
  });
  expect(withPrefixToken(own, end)).toBe(own);
});

test("takes it away, and keeps what stands behind a text", () => {
  const own = withPrefixToken(tokenizer, end);
  expect(marked(withPrefixToken(own, null))).toEqual(plain);
  expect(withPrefixToken(tokenizer, null)).toBe(tokenizer);
  const json = { ...tokenizer.toJson() } as TokenizerJson;
  const [token, text] = [{ SpecialToken: { id: "<|endoftext|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }];
  const special_tokens = { "<|endoftext|>": { id: "<|endoftext|>", ids: [end], tokens: ["<|endoftext|>"] } };
  const behind = createTokenizer({
    ...json,
    post_processor: { type: "TemplateProcessing", single: [text, token], pair: [text, token], special_tokens },
  });
  expect(marked(behind)).toEqual([...plain, end]);
  expect(marked(withPrefixToken(behind, end))).toEqual([end, ...plain, end]);
  expect(marked(withPrefixToken(withPrefixToken(behind, end), null))).toEqual([...plain, end]);
});
