// Oracle: sets of n-grams as strings.
import { expect, test } from "vitest";
import { createRandom } from "../../platform/random.ts";
import { findHeldOut, indexHeldOut } from "./contamination.ts";
import { hashWords, IntList } from "./words.ts";

const wordsOf = (text: string): IntList => {
  const list = new IntList();
  hashWords(text, list);
  return list;
};
const ngrams = (text: string, n: number): string[] => {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(" "));
};

test("counts the n-grams that stand in held-out texts, and names the first such text", async () => {
  const random = createRandom(4);
  const sentence = (length: number) => Array.from({ length }, () => `w${random.integer(4)}`).join(" ");
  const held = Array.from({ length: 60 }, () => sentence(9 + random.integer(12)));
  const index = await indexHeldOut(held, 9);
  const sets = held.map((text) => new Set(ngrams(text, 9)));
  const all = new Set(sets.flatMap((set) => [...set]));
  expect(index).toMatchObject({ texts: 60, ngrams: all.size, tooShort: 0, lengths: [9] });
  let matched = 0;
  for (let i = 0; i < 300; i++) {
    const text = i % 3 === 0 ? `${sentence(30)} ${held[i % 60].toUpperCase()}! ${sentence(30)}` : sentence(400);
    const own = ngrams(text, 9);
    const hits = own.filter((one) => all.has(one));
    const first = sets.findIndex((set) => own.some((one) => set.has(one)));
    expect(findHeldOut(wordsOf(text), index)).toEqual({ overlap: hits.length, text: first });
    if (hits.length > 0) matched++;
  }
  expect(matched).toBeGreaterThan(100);
});

test("a text shorter than n words counts whole, from eight words on", async () => {
  const eight = "one two three four five six seven eight";
  const index = await indexHeldOut([eight, "far too short", `${eight} nine`], 13);
  expect(index).toMatchObject({ texts: 3, tooShort: 1, lengths: [8, 9] });
  expect(findHeldOut(wordsOf(`So: ${eight}, ten.`), index)).toEqual({ overlap: 1, text: 0 });
  expect(findHeldOut(wordsOf(`${eight} nine`), index)).toEqual({ overlap: 2, text: 0 });
  expect(findHeldOut(wordsOf("one two three four five six seven, far too short"), index).overlap).toBe(0);
  await expect(indexHeldOut([], 13)).rejects.toThrow("hold no text");
});

test("the table grows past its first size without losing an n-gram", async () => {
  const words = Array.from({ length: 9000 }, (_, i) => `word${i}`);
  const index = await indexHeldOut([words.join(" ")], 13);
  expect(index.ngrams).toBe(9000 - 12);
  expect(findHeldOut(wordsOf(words.join(" ")), index)).toEqual({ overlap: 9000 - 12, text: 0 });
});
