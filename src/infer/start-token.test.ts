// The token before a text. Oracle: what Hugging Face's tokenizers put around a text by the same post-processor, as their
// documentation defines TemplateProcessing, RobertaProcessing and Sequence; and the rule of training here, end-of-text
// before every document.
import { expect, test } from "vitest";
import { createTokenizer, type TokenizerJson, trainBpe } from "../tokenizer/index.ts";
import { templateWithPrefix } from "../tokenizer/sentencepiece.ts";
import { aroundText, startTokenOf, withStartToken } from "./start-token.ts";

const { tokenizer: trained } = await trainBpe(["the cat sat on the mat"], {
  vocabSize: 270,
  specialTokens: ["<|endoftext|>", "<s>", "<x>"],
});
const [end, begin, x] = ["<|endoftext|>", "<s>", "<x>"].map((name) => trained.idOf(name)!);
const withPost = (post_processor: unknown) =>
  createTokenizer({ ...trained.toJson(), post_processor } as TokenizerJson, { name: "made" });
const template = (...single: (string | null)[]) => ({
  type: "TemplateProcessing",
  single: single.map((id) =>
    id === null ? { Sequence: { id: "A", type_id: 0 } } : { SpecialToken: { id, type_id: 0 } },
  ),
  pair: [],
  special_tokens: Object.fromEntries(
    single.flatMap((id) => (id === null ? [] : [[id, { id, ids: [trained.idOf(id)!], tokens: [id] }]])),
  ),
});

test("after a training here it is end-of-text, whatever the tokenizer's file says", () => {
  expect(startTokenOf(100, trained)).toBe(end);
  expect(startTokenOf(0, withPost(template("<s>", null)))).toBe(end);
});

test("from elsewhere it is what the post-processor puts there, and nothing where it puts nothing", () => {
  expect(startTokenOf(null, trained)).toBeNull();
  expect(startTokenOf(null, withPost(null))).toBeNull();
  expect(startTokenOf(null, withPost(templateWithPrefix("<s>", begin)))).toBe(begin);
  expect(startTokenOf(null, withPost({ type: "Sequence", processors: [template("<x>", null)] }))).toBe(x);
  expect(startTokenOf(null, withPost(template(null, "<s>")))).toBeNull();
  expect(aroundText(withPost(template("<x>", null, "<s>")))).toEqual({ prefix: [x], suffix: [begin] });
});

test("several tokens before a text are refused by their names, and can be replaced or left out", () => {
  const two = withPost(template("<s>", "<x>", null));
  expect(() => startTokenOf(null, two)).toThrow(/puts 2 tokens before a text \(<s> <x>\).*--no-start-token/);
  expect(startTokenOf(null, two, null)).toBeNull();
  expect(startTokenOf(null, two, "<x>")).toBe(x);
});

test("a token can be named by its name or id, and one that is not there is refused", () => {
  expect(startTokenOf(3, trained, "<s>")).toBe(begin);
  expect(startTokenOf(null, trained, "259")).toBe(259); // no token is called so
  expect(startTokenOf(null, trained, begin)).toBe(begin);
  expect(startTokenOf(3, trained, null)).toBeNull();
  for (const wrong of ["<nobody>", String(trained.vocabSize), "-1", 1.5])
    expect(() => startTokenOf(3, trained, wrong)).toThrow("--start-token");
});

test("ids get it once", () => {
  expect(withStartToken([5, 6], 9)).toEqual([9, 5, 6]);
  expect(withStartToken([9, 6], 9)).toEqual([9, 6]);
  expect(withStartToken([5], null)).toEqual([5]);
});
