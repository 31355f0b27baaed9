// Oracles: a model whose logits are all 0, whose loss is ln V for every token; sums written out here, token by token, from
// the model's logits in float64; lm-evaluation-harness's rule for rolling windows, with the windows that its own tests
// list for 34 and for 9 tokens. Bound: token losses are float32 (relative 6e-8 each, and what exp and log add).
import { expect, test } from "vitest";
import { integers } from "../../test/support/random.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { streamOfTokens } from "../data/index.ts";
import { type ModelConfig, presets, Transformer } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { TransformerEngine } from "../infer/index.ts";
import { evaluateLoss, evaluateWikiText, type Progress, rollingWindows } from "./index.ts";

const V = 29;
const config: ModelConfig = {
  ...presets.tiny,
  vocabSize: V,
  width: 16,
  layers: 1,
  heads: 2,
  kvHeads: 1,
  hiddenWidth: 24,
  contextLength: 12,
  initStd: 0.5,
};
const endOfText = 0;
const ids = integers(100, 1, V);
const stream = streamOfTokens(ids, { vocabSize: V, endOfText, textBytes: 300 });

function createModel() {
  const backend = createReferenceBackend();
  const runtime = new Runtime(backend);
  return { backend, runtime, model: new Transformer(runtime, config, 3) };
}

/** A model that knows nothing: the last norm's gain is 0, so every logit is. */
function createIgnorant() {
  const made = createModel();
  const gain = made.model.parameters.find(({ name }) => name === "model.norm.weight")!;
  made.runtime.backend.upload(gain.tensor.buffer, new Float32Array(config.width));
  return made;
}

/** -ln p of `target` after `input`. */
async function nats(model: Transformer, input: ArrayLike<number>, target: number): Promise<number> {
  const { runtime } = model;
  const tensor = model.lastLogits({ tokens: Int32Array.from(input), batch: 1, length: input.length });
  const logits = await runtime.readFloats(tensor);
  tensor.dispose();
  let sum = 0;
  for (const x of logits) sum += Math.exp(x);
  return Math.log(sum) - logits[target];
}

test("a model that knows nothing has loss ln V, perplexity V and its bits per byte, whatever the batch", async () => {
  const { model } = createIgnorant();
  for (const batch of [1, 4, 50]) {
    const result = await evaluateLoss(model, stream, { batch });
    expect(result.lossNats).toBeCloseTo(Math.log(V), 6);
    expect(result.perplexity).toBeCloseTo(V, 4);
    expect(result.bitsPerByte).toBeCloseTo((100 * Math.log2(V)) / 300, 6);
    const ends = ids.filter((id) => id === endOfText).length;
    expect(result).toMatchObject({ tokens: 100, endOfTextTokens: ends, bytes: 300, documents: ends });
    expect(result).toMatchObject({ sequence: 12, stride: 12 });
  }
});

test.for([
  { sequence: 12, stride: 12 },
  { sequence: 12, stride: 5 },
  { sequence: 7, stride: 1 },
])("each token is scored once from what its window holds: $sequence tokens, stride $stride", async (sizes) => {
  const { model } = createModel();
  const { sequence, stride } = sizes;
  const text = [endOfText, ...ids];
  let sum = 0;
  for (let i = 0; i < ids.length; i++) {
    // Target i stands in the first window whose targets, from w · stride on, reach it.
    const w = Math.max(0, Math.ceil((i + 1 - sequence) / stride));
    sum += await nats(model, text.slice(w * stride, i + 1), ids[i]);
  }
  for (const batch of [1, 3]) {
    const result = await evaluateLoss(model, stream, { batch, sequence, stride });
    expect(result.lossNats).toBeCloseTo(sum / 100, 5);
    expect(result).toMatchObject({ tokens: 100, sequence, stride });
  }
});

test("leaving out end-of-text tokens leaves out their losses alone", async () => {
  const { model } = createModel();
  const all = await evaluateLoss(model, stream, { batch: 2 });
  const text = await evaluateLoss(model, stream, { batch: 2, scoreEndOfText: false });
  expect(text.tokens).toBe(100 - all.endOfTextTokens);
  expect(text.endOfTextTokens).toBe(0);
  const ends = Math.LN2 * 300 * (all.bitsPerByte! - text.bitsPerByte!);
  let sum = 0;
  const before = [endOfText, ...ids];
  for (let i = 0; i < ids.length; i++)
    if (ids[i] === endOfText) sum += await nats(model, before.slice(i - (i % 12), i + 1), endOfText);
  expect(ends).toBeCloseTo(sum, 4);
});

test("with documents masked, a document's loss does not hang on the one before", async () => {
  const { model } = createModel();
  const document = [5, 9, 3, 7, endOfText];
  const score = (tokens: number[], maskDocuments: boolean) =>
    evaluateLoss(model, streamOfTokens(tokens, { vocabSize: V, endOfText }), { batch: 1, maskDocuments });
  const alone = await score(document, true);
  const twice = await score([...document, ...document], true);
  expect(twice.lossNats).toBeCloseTo(alone.lossNats, 5);
  const unmasked = await score([...document, ...document], false);
  expect(Math.abs(unmasked.lossNats - alone.lossNats)).toBeGreaterThan(1e-3);
});

test("a part of a text has bits per byte only where its bytes are told", async () => {
  const { model } = createIgnorant();
  const result = await evaluateLoss(model, stream, { batch: 2, maxTokens: 40 });
  expect(result).toMatchObject({ tokens: 40, bytes: null, bitsPerByte: null, documents: null });
  const told = await evaluateLoss(model, stream, { batch: 2, maxTokens: 40, textBytes: 90 });
  expect(told.bitsPerByte).toBeCloseTo((40 * Math.log2(V)) / 90, 6);
});

test("memory is that of one batch, and nothing is left behind", async () => {
  const { backend, model } = createModel();
  model.reservePositions(model.config.contextLength);
  const live = backend.stats.liveBytes;
  await evaluateLoss(model, stream, { batch: 1 });
  // The ternary weights that the first forward quantised stay with the model: codes of one byte, scales of four.
  const codes = model.ternaryLayers.reduce((sum, { weight }) => sum + weight.size + 4, 0);
  expect(backend.stats.liveBytes).toBe(live + codes);
  const peak = backend.stats.peakBytes;
  await evaluateLoss(model, stream, { batch: 1, stride: 1 });
  expect(backend.stats.liveBytes).toBe(live + codes);
  expect(backend.stats.peakBytes).toBe(peak);
});

test("progress is told, and the signal's reason is thrown between batches", async () => {
  const { model } = createIgnorant();
  const seen: Progress[] = [];
  await evaluateLoss(model, stream, { batch: 4, onProgress: (progress) => seen.push(progress) });
  expect(seen).toEqual([48, 96, 100].map((tokens) => ({ tokens, totalTokens: 100 })));
  const signal = AbortSignal.abort(new Error("stop"));
  await expect(evaluateLoss(model, stream, { batch: 4, signal })).rejects.toThrow("stop");
});

test("bad input is refused with what was wanted", async () => {
  const { model, runtime } = createModel();
  const refused = (more: object, tokens = stream) => evaluateLoss(model, tokens, { batch: 1, ...more });
  await expect(refused({ sequence: 13 })).rejects.toThrow("sequence is 13, but the model's context is 12");
  await expect(refused({ stride: 13 })).rejects.toThrow("stride is 13");
  await expect(refused({ batch: 0 })).rejects.toThrow("batch is 0");
  await expect(refused({}, streamOfTokens([1], { vocabSize: V + 1, endOfText }))).rejects.toThrow(
    "a vocabulary of 30 tokens, the model has 29",
  );
  const ends = streamOfTokens([endOfText, endOfText], { vocabSize: V, endOfText });
  await expect(refused({ scoreEndOfText: false }, ends)).rejects.toThrow("only end-of-text tokens");
  const { tensor } = model.parameters[0];
  runtime.backend.upload(tensor.buffer, new Float32Array(V * config.width).fill(Number.NaN));
  await expect(refused({})).rejects.toThrow("is NaN; the model's weights are damaged");
});

test("rolling windows are the harness's: context of one, the last window full", () => {
  const windows = (n: number, window: number) => [...rollingWindows([...Array(n).keys()], -100, window)];
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  expect(windows(34, 10)).toEqual([
    { input: [-100, ...range(0, 9)], targets: range(0, 10) },
    { input: range(9, 19), targets: range(10, 20) },
    { input: range(19, 29), targets: range(20, 30) },
    { input: range(23, 33), targets: range(30, 34) },
  ]);
  expect(windows(9, 2).map(({ input, targets }) => [input, targets])).toEqual([
    [
      [-100, 0],
      [0, 1],
    ],
    [
      [1, 2],
      [2, 3],
    ],
    [
      [3, 4],
      [4, 5],
    ],
    [
      [5, 6],
      [6, 7],
    ],
    [[6, 7], [8]],
  ]);
  expect(windows(3, 10)).toEqual([{ input: [-100, 0, 1], targets: [0, 1, 2] }]);
  expect(windows(0, 10)).toEqual([]);
});

test("WikiText: nats are summed over rolling windows of pages, words and bytes are the page's own", async () => {
  const { model } = createModel();
  const pages = [" = A = \n\n Robin , the bird . \n", " = B = \n"];
  /** Characters as tokens, folded into the vocabulary. */
  const encode = (text: string) => Int32Array.from(text, (c) => 1 + (c.charCodeAt(0) % (V - 1)));
  const tokenizer = { encode, vocabSize: V, bos: null, endOfText };
  // As the harness's detokeniser leaves them.
  const texts = [" = A =\n\nRobin, the bird.\n", " = B =\n"];
  let sum = 0;
  let tokens = 0;
  for (const text of texts)
    for (const { input, targets } of rollingWindows(encode(text), endOfText, 12)) {
      const skip = input.length - targets.length;
      for (const [i, target] of targets.entries()) {
        sum += await nats(model, input.slice(0, skip + i + 1), target);
        tokens++;
      }
    }
  // Python: len(re.split(r"\s+", page)), empty ends included; len(page.encode()).
  const words = 10 + 5;
  const bytes = 30 + 8;
  for (const batch of [1, 3]) {
    const result = await evaluateWikiText(model, tokenizer, pages, { batch });
    expect(result).toMatchObject({ tokens, words, bytes, pages: 2, sequence: 12 });
    expect(Math.log(result.wordPerplexity)).toBeCloseTo(sum / words, 5);
    expect(Math.log(result.bytePerplexity)).toBeCloseTo(sum / bytes, 5);
    expect(result.bitsPerByte).toBeCloseTo(sum / bytes / Math.LN2, 5);
    expect(Math.log(result.tokenPerplexity)).toBeCloseTo(sum / tokens, 5);
  }
  // By an engine as it writes: the same windows.
  const engine = new TransformerEngine(model);
  const byEngine = await evaluateWikiText(engine, tokenizer, pages, { batch: 2 });
  expect(byEngine).toMatchObject({ tokens, words, bytes, pages: 2, sequence: 12 });
  expect(Math.log(byEngine.wordPerplexity)).toBeCloseTo(sum / words, 5);
  engine.dispose();
  await expect(evaluateWikiText(model, tokenizer, [], { batch: 1 })).rejects.toThrow("no page to score");
  await expect(evaluateWikiText(model, { ...tokenizer, endOfText: null }, pages, { batch: 1 })).rejects.toThrow(
    "neither a begin-of-text nor an end-of-text",
  );
});
