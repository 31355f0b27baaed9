// Texts past the context's end over a ring of keys and values. Oracle: the same weights with a longer context, each token
// shown the last ones alone (attention's own mask); training's forward over the whole text foresees each token.
import { expect, test } from "vitest";
import { byteTokenizer, createSmallEngine } from "../../test/support/small-model.ts";
import { generateText } from "./generate.ts";
import { createPackedEngine } from "./packed/engine.ts";
import { weightsOfModel } from "./packed/weights.ts";
import { PromptCache } from "./prompt-cache.ts";

const window = 16;
const { model } = createSmallEngine({ contextLength: 64 });
const ring = () =>
  createPackedEngine(model.runtime.backend, { ...model.config, contextLength: window }, weightsOfModel(model), {
    overflow: "slide",
    gatherAbove: 0,
  });
const greedy = { maxTokens: 50, temperature: 0, startToken: null, stopTokens: [] };

test("a text goes on past the context's end, each token seeing the last ones that fit", async () => {
  const engine = await ring();
  const ids: number[] = [...byteTokenizer.encode("abcd")];
  const { report } = await generateText(engine, byteTokenizer, "abcd", greedy);
  expect(report).toMatchObject({ finish: "length", generatedTokens: 50 });
  const sequence = engine.createSequence();
  let next: number[] = ids;
  while (ids.length < 54) {
    const [logits] = await engine.forward([{ sequence, tokens: next, logits: "last" }]);
    next = [logits.indexOf(Math.max(...logits))];
    ids.push(...next);
  }
  const V = model.config.vocabSize;
  const documentStart = Int32Array.from(ids, (_, t) => Math.max(0, t - window + 1));
  const logits = model.logits({ tokens: Int32Array.from(ids), batch: 1, length: ids.length, documentStart });
  const values = await model.runtime.readFloats(logits);
  for (let t = 4; t < ids.length; t++) {
    const row = values.subarray((t - 1) * V, t * V);
    expect(row.indexOf(Math.max(...row)), `token ${t}`).toBe(ids[t]);
  }
  engine.dispose();
});

test("drafts end where the ring begins to turn, and change nothing; a ring that has turned is not kept for other prompts", async () => {
  const engine = await ring();
  const plain = await generateText(engine, byteTokenizer, "abab", greedy);
  const cache = new PromptCache(engine);
  const drafted = await generateText(engine, byteTokenizer, "abab", { ...greedy, draftTokens: 4, cache });
  expect(drafted.text).toBe(plain.text);
  expect(cache.tokens).toBe(0);
  const short = await generateText(engine, byteTokenizer, "abab", { ...greedy, maxTokens: 5, cache });
  expect(plain.text.startsWith(short.text)).toBe(true);
  expect(cache.tokens).toBeGreaterThan(0);
  cache.dispose();
  engine.dispose();
});

test("without a ring the text ends with the context", async () => {
  const config = { ...model.config, contextLength: window };
  const engine = await createPackedEngine(model.runtime.backend, config, weightsOfModel(model));
  const { report } = await generateText(engine, byteTokenizer, "abcd", greedy);
  expect(report).toMatchObject({ finish: "context", generatedTokens: window - 4 + 1 });
  engine.dispose();
});
