// Oracle: a model of one's own making, whose most likely next token is known at each place.
import { expect, test } from "vitest";
import { createReferenceBackend } from "../backends/reference.ts";
import type { TokenBatch } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { scoreAnswers } from "./answers.ts";

const runtime = new Runtime(createReferenceBackend());
/** Tokens are digits and 10 = end-of-text. It says: after 1, 2; after 2, 3; after anything else, the end. */
const model = {
  runtime,
  config: { vocabSize: 11 },
  logits({ tokens, batch, length }: TokenBatch) {
    const values = new Float32Array(batch * length * 11);
    tokens.forEach((token, i) => {
      values[i * 11 + (token === 1 ? 2 : token === 2 ? 3 : 10)] = 1;
    });
    return runtime.upload([batch, length, 11], "f32", values);
  },
};
const tokenizer = { endOfText: 10, encode: (text: string) => Array.from(text, Number) };

test("an answer is right only if every token of it and the end behind it are the most likely", async () => {
  const questions = [
    { prompt: "51", answer: "23" },
    { prompt: "1", answer: "2" }, // 3 would follow: the end is not the most likely
    { prompt: "1", answer: "24" },
    { prompt: "7", answer: "" },
  ];
  expect(await scoreAnswers(model, tokenizer, questions)).toEqual([true, false, false, true]);
  const many = Array.from({ length: 130 }, (_, i) => questions[i % 4]);
  expect((await scoreAnswers(model, tokenizer, many)).filter(Boolean)).toHaveLength(65);
  expect(runtime.backend.stats.liveBytes).toBe(0);
});

test("refuses a tokenizer without an end", async () => {
  await expect(scoreAnswers(model, { ...tokenizer, endOfText: null }, [])).rejects.toThrow("no end-of-text token");
});
