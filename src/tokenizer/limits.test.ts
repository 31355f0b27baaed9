// Oracle: what a pattern that backtracks does by itself (it never ends), and arithmetic for growth.
import { expect, test } from "vitest";
import { UnsupportedError } from "../platform/errors.ts";
import { limitTime } from "./limits.ts";
import { createTokenizer } from "./load.ts";
import { bpeTokenizerJson, type Component, type TokenizerJson, vocabOf } from "./tokenizer-json.ts";

const json = (parts: Partial<TokenizerJson>) =>
  bpeTokenizerJson({ vocab: vocabOf(["a", "b", "aa", "<unk>"]), merges: ["a a"], unk_token: "<unk>" }, parts);
const split = (Regex: string): Component => ({
  type: "Split",
  pattern: { Regex },
  behavior: "Isolated",
  invert: false,
});
const replace = (from: string, content: string): Component => ({ type: "Replace", pattern: { String: from }, content });

test.for(["(a+)+$", "(a|a)*c"])("a pattern that backtracks without end is ended by name: %s", (pattern) => {
  const tokenizer = limitTime(createTokenizer(json({ pre_tokenizer: split(pattern) }), { name: "evil" }), 100);
  expect(() => tokenizer.encode(`${"a".repeat(50)}b`)).toThrow(UnsupportedError);
  expect(() => tokenizer.encode(`${"a".repeat(50)}b`)).toThrow(/tokenizer evil: a text takes too long/);
  // It works on for texts that the pattern ends on.
  expect([...tokenizer.encode("aab")]).toEqual([2, 1]);
});

test.for<[string, Partial<TokenizerJson>, string]>([
  [
    "replacements of replacements",
    { normalizer: { type: "Sequence", normalizers: Array.from({ length: 20 }, () => replace("a", "aaaaaaaaaa")) } },
    "evil: the normalizer's replacements can make a text 1e+20 times as long; at most 64",
  ],
  [
    "the empty text replaced",
    { normalizer: { type: "Sequence", normalizers: Array.from({ length: 30 }, () => replace("", "bbb")) } },
    "times as long",
  ],
  [
    "a Prepend of a long text",
    { normalizer: { type: "Prepend", prepend: "x".repeat(5000) } },
    "the normalizer's Prepend puts in",
  ],
  ["a Replace by a long text", { normalizer: replace("a", "x".repeat(5000)) }, "5000 characters; at most 1000"],
  [
    "200,000 added tokens",
    {
      added_tokens: Array.from({ length: 200_000 }, (_, i) => ({
        id: i + 4,
        content: `<${i}>`,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
    },
    "evil: has 200000 added tokens; at most 100000",
  ],
])("%s is refused before anything grows", ([, parts, words]) => {
  expect(() => createTokenizer(json(parts), { name: "evil" })).toThrow(words);
});

test("the replacements of known tokenizers are within the limits", () => {
  const spaces = { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replace(" ", "▁")] };
  const quotes = { type: "Sequence", normalizers: [replace("``", '"'), replace("''", '"'), replace("\n", "<n>")] };
  for (const normalizer of [spaces, quotes])
    expect(createTokenizer(json({ normalizer })).encode("a").length).toBeGreaterThan(0);
});
