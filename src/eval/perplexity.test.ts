// Oracle: llama.cpp's rule (tools/perplexity/perplexity.cpp) written out token by token with the model's logits after the
// whole of what stands before; a model whose logits are all 0, with perplexity V.
import { expect, test } from "vitest";
import { integers } from "../../test/support/random.ts";
import { createScriptedEngine } from "../../test/support/scripted-engine.ts";
import { createSmallEngine } from "../../test/support/small-model.ts";
import { logProbability } from "../infer/index.ts";
import { evaluatePerplexity } from "./perplexity.ts";

const text = [...integers(150, 1, 256)];

test.for([
  { contextTokens: 20, stride: 0 },
  { contextTokens: 21, stride: 0 },
  { contextTokens: 20, stride: 6 },
])("is llama.cpp's: context $contextTokens, stride $stride", async ({ contextTokens, stride }) => {
  const { engine, model, runtime } = createSmallEngine();
  const start = 256;
  const losses: number[] = [];
  // The source's names: n_ctx, calc_chunk, n_chunk, first.
  const nCtx = contextTokens + Math.floor(stride / 2);
  const nChunk = stride > 0 ? Math.floor((text.length - nCtx + stride - 1) / stride) : Math.floor(text.length / nCtx);
  for (let i = 0; i < nChunk; i++) {
    const begin = stride > 0 ? i * stride : i * nCtx;
    const window = [start, ...text.slice(begin + 1, begin + nCtx)];
    for (let j = stride > 0 ? nCtx - stride - 1 : Math.floor(nCtx / 2); j < nCtx - 1; j++) {
      const tensor = model.lastLogits({ tokens: Int32Array.from(window.slice(0, j + 1)), batch: 1, length: j + 1 });
      losses.push(-logProbability(await runtime.readFloats(tensor), text[begin + j + 1]));
      tensor.dispose();
    }
  }
  const count = losses.length;
  const nll = losses.reduce((a, b) => a + b, 0) / count;
  const nll2 = losses.reduce((a, b) => a + b * b, 0) / count - nll * nll;
  const seen: number[] = [];
  const result = await evaluatePerplexity(engine, text, {
    ...{ contextTokens, stride, startToken: start },
    onChunk: (chunk) => seen.push(chunk),
  });
  expect(result).toMatchObject({ tokens: count, chunks: nChunk, contextTokens: nCtx, stride });
  expect(result.perplexity / Math.exp(nll)).toBeCloseTo(1, 6);
  expect(result.uncertainty! / (Math.exp(nll) * Math.sqrt(nll2 / (count - 1)))).toBeCloseTo(1, 4);
  expect(seen).toEqual(Array.from({ length: nChunk }, (_, i) => i + 1));
  const part = await evaluatePerplexity(engine, text, { contextTokens, stride, startToken: start, chunks: 2 });
  expect(part.tokens).toBe((2 * count) / nChunk);
});

test("a model that knows nothing has perplexity V, and sequences are freed", async () => {
  const engine = createScriptedEngine(300, 64, () => {});
  const result = await evaluatePerplexity(engine, text, { startToken: null });
  expect(result.perplexity).toBeCloseTo(300, 4);
  expect(result).toMatchObject({ contextTokens: 64, chunks: 2, uncertainty: expect.closeTo(0, 3) });
  // Only what is scored asks for logits: 32 tokens of a window go by without.
  expect(engine.fed.map((part) => part.length).slice(0, 2)).toEqual([32, 31]);
  expect(engine.open()).toBe(0);
});

test("bad input is refused with what was wanted", async () => {
  const engine = createScriptedEngine(300, 64, (tokens, logits) => {
    if (tokens.length === 50) logits.fill(Number.NaN);
  });
  const refused = (more: object, tokens = text) => evaluatePerplexity(engine, tokens, { startToken: null, ...more });
  await expect(refused({ contextTokens: 80 })).rejects.toThrow("a window has 80 tokens, the model's context 64");
  await expect(refused({ contextTokens: 60, stride: 20 })).rejects.toThrow("70 tokens (half a stride added)");
  await expect(refused({ contextTokens: 1 })).rejects.toThrow("contextTokens is 1");
  await expect(refused({ chunks: 0 })).rejects.toThrow("chunks is 0");
  await expect(refused({ contextTokens: 10, stride: 40 })).rejects.toThrow("stride is 40, as long as a window of 30");
  await expect(refused({}, text.slice(0, 100))).rejects.toThrow(
    "the text has 100 tokens; two windows of 64 are needed",
  );
  await expect(refused({})).rejects.toThrow("is NaN; the model's weights are damaged");
  await expect(refused({ signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow("stop");
  expect(engine.open()).toBe(0);
});
