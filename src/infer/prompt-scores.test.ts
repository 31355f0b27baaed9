// Oracle: the softmax of a scripted engine's logits, told by hand: 0.8 for the next id, 0.2 for id 0. The server's answers over the
// same are held in serve/echo.test.ts.
import { expect, test } from "vitest";
import { createScriptedEngine } from "../../test/support/scripted-engine.ts";
import { byteTokenizer } from "../../test/support/small-model.ts";
import { generate, type SingleOptions } from "./generate.ts";
import { PromptCache } from "./prompt-cache.ts";
import { PromptScores } from "./prompt-scores.ts";

const V = 257;
const nats = (p: number) => expect.closeTo(Math.log(p), 5);
const engineOf = (context: number) =>
  createScriptedEngine(V, context, (tokens, out) => {
    out.fill(-30);
    out[0] = 0;
    out[tokens[tokens.length - 1] + 1] = Math.log(4);
  });

async function score(engine: ReturnType<typeof engineOf>, prompt: number[], more: Partial<SingleOptions> = {}) {
  const options = { maxTokens: 2, temperature: 0, stopTokens: [], promptAlternatives: 1, ...more };
  const text = generate(engine, byteTokenizer, prompt, options);
  const ids: number[] = [];
  for await (const { id } of text) ids.push(id);
  return { ids, report: text.report, promptTokens: text.promptTokens };
}

test("a prompt's tokens have the model's log-probabilities, the first none, beside the text that is written anyway", async () => {
  const { ids, promptTokens } = await score(engineOf(50), [5, 6, 0]);
  expect(promptTokens).toEqual([
    { id: 5, logProbability: null, alternatives: [] },
    { id: 6, logProbability: nats(0.8), alternatives: [{ id: 6, logProbability: nats(0.8) }] },
    { id: 0, logProbability: nats(0.2), alternatives: [{ id: 7, logProbability: nats(0.8) }] },
  ]);
  expect(ids).toEqual([1, 2]);
});

test("a cached beginning is prefilled again, drafts change nothing, and a full context has its scores", async () => {
  const engine = engineOf(8);
  const cache = new PromptCache(engine);
  const prompt = [1, 2, 3, 4, 5, 6, 7, 8];
  const first = await score(engine, prompt, { cache, maxTokens: 0 });
  const again = await score(engine, prompt, { cache, draftTokens: 3, maxTokens: 5 });
  expect(first.promptTokens).toHaveLength(8);
  expect(again.promptTokens).toEqual(first.promptTokens);
  expect([first.report.finish, again.report.finish]).toEqual(["length", "context"]);
  expect([first.ids, again.ids, again.report.cachedTokens]).toEqual([[], [9], 0]);
  cache.dispose();
  expect(engine.open()).toBe(0);
});

test("without being asked for nothing is scored, and a prompt of one token has nothing to score", async () => {
  expect((await score(engineOf(9), [5, 6], { promptAlternatives: undefined })).promptTokens).toEqual([]);
  expect((await score(engineOf(9), [5])).promptTokens).toEqual([{ id: 5, logProbability: null, alternatives: [] }]);
  await expect(score(engineOf(9), [5], { promptAlternatives: -1 })).rejects.toThrow(/promptAlternatives is -1/);
});

test("a pass over a large vocabulary has fewer of the prompt's tokens: 16 MiB of logits", () => {
  expect(PromptScores.piece(512, 2048)).toBe(512);
  expect(PromptScores.piece(512, 128_256)).toBe(32);
  expect(PromptScores.piece(512, 10_000_000)).toBe(1);
});
