// Oracle: the promise: an id without a token has probability 0, whatever its logit, in sampling and in beam search.
import { expect, test } from "vitest";
import { createScriptedEngine } from "../../test/support/scripted-engine.ts";
import { createTokenizer } from "../tokenizer/index.ts";
import { beamSearch } from "./beam.ts";
import { generateText } from "./generate.ts";

/** Three tokens, one of them behind a gap, under a model of eight. */
const tokenizer = createTokenizer({
  model: { type: "BPE", vocab: { a: 0, b: 1, c: 4 }, merges: [] },
  decoder: { type: "Fuse" },
});
const engine = () =>
  createScriptedEngine(8, 100, (_, logits) => {
    logits.set([1, 2, 9, 9, 1, 9, 9, 9]);
  });

test.for([0, 5])("ids without a token are never drawn, at temperature %d", async (temperature) => {
  const settings = {
    maxTokens: 40,
    temperature,
    seed: 3,
    topK: 0,
    topP: 1,
    minP: 0,
    startToken: null,
    alternatives: 8,
  };
  const { ids, text, tokens } = (await generateText(engine(), tokenizer, "a", settings)) as Awaited<
    ReturnType<typeof generateText>
  > & { tokens?: { alternatives: { id: number }[] }[] };
  expect(ids).toHaveLength(40);
  expect(ids.filter((id) => ![0, 1, 4].includes(id))).toEqual([]);
  expect(text).toHaveLength(40);
  for (const { alternatives } of tokens ?? []) expect(alternatives.map(({ id }) => id).sort()).toEqual([0, 1, 4]);
});

test("nor are they branches of a beam search", async () => {
  const [best] = await beamSearch(engine(), tokenizer, "a", { beams: 2, maxTokens: 5, startToken: null });
  expect(best.text).toBe("bbbbb");
});
