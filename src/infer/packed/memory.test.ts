// Oracles: training's logits, for prompts of several rounds, whose kernels work in memory that lies idle; and the sizes of what
// must be held, counted by hand from the shapes: what a backend has in use is that, whatever was read and written before.
import { expect, test } from "vitest";
import { expectClose } from "../../../test/support/expect-close.ts";
import { integers } from "../../../test/support/random.ts";
import { createBackend } from "../../backends/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { pageBytes } from "../../ops/cached-attention/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { TransformerEngine } from "../transformer-engine.ts";
import { packModel } from "./engine.ts";

const V = 50;
const config: ModelConfig = {
  ...presets.arithmetic,
  vocabSize: V,
  width: 48,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 72,
  contextLength: 700,
  initStd: 0.15,
};
const tokens = integers(700, 3, V);

async function withModel(more: Partial<ModelConfig>, body: (model: Transformer) => Promise<void>) {
  const backend = await createBackend({ backend: "auto", threads: 2 });
  try {
    await body(new Transformer(new Runtime(backend), { ...config, ...more }, 5));
  } finally {
    backend.close();
  }
}

test.for([
  { name: "silu", more: {} },
  { name: "squared ReLU, wide feed-forward", more: { activation: "relu2", hiddenWidth: 400 } },
  { name: "narrow feed-forward, as many key heads", more: { hiddenWidth: 16, kvHeads: 4 } },
  { name: "full precision", more: { variant: "full", hiddenWidth: 400 } },
] as const)("prompts of several rounds, alone and beside others, give training's logits: $name", ({ more }) =>
  withModel(more, async (model) => {
    const bound = "variant" in more ? { abs: 2e-4, rel: 2e-4 } : { abs: 2e-5, rel: 2e-5 };
    const engine = await packModel(model, { gatherAbove: 0 });
    const expected = async (from: number, to: number) => {
      const text = tokens.slice(from, to);
      const logits = model.logits({ tokens: text, batch: 1, length: text.length });
      return (await model.runtime.readFloats(logits)).slice(-V);
    };
    const [a, b] = [engine.createSequence(), engine.createSequence()];
    const [alone] = await engine.forward([{ sequence: a, tokens: tokens.slice(0, 600), logits: "last" }]);
    expectClose(alone, await expected(0, 600), bound);
    const both = await engine.forward([
      { sequence: a, tokens: tokens.slice(600, 650), logits: "last" },
      { sequence: b, tokens: tokens.slice(100, 500), logits: "last" },
    ]);
    expectClose(both[0], await expected(0, 650), bound);
    expectClose(both[1], await expected(100, 500), bound);
    engine.dispose();
  }),
);

test("the cache has the pages that a prompt needs, and grows by a quarter, once", () =>
  withModel({}, async (model) => {
    const engine = await packModel(model, { cache: "f16" });
    const page = 2 * config.layers * pageBytes({ heads: 4, kvHeads: 2, headWidth: 12, format: "f16" });
    const sequence = engine.createSequence();
    const pagesAfter = async (count: number) => {
      const part = tokens.slice(sequence.length, sequence.length + count);
      await engine.forward([{ sequence, tokens: part, logits: "none" }]);
      return engine.report.cacheBytes / page;
    };
    expect(await pagesAfter(512)).toBe(32);
    expect(await pagesAfter(1)).toBe(40);
    expect(await pagesAfter(127)).toBe(40);
    expect(await pagesAfter(1)).toBe(50);
    engine.dispose();
  }));

test("a pass holds, beside weights and cache, four stretches of 256 rows, and what attention as in training sees", () =>
  withModel({ width: 256, hiddenWidth: 512 }, async (model) => {
    const engine = await packModel(model);
    const { backend } = model.runtime;
    const sequence = engine.createSequence();
    await engine.forward([{ sequence, tokens: tokens.slice(0, 512), logits: "last" }]);
    const held = backend.stats.liveBytes;
    const other = engine.createSequence();
    await engine.forward([{ sequence: other, tokens: tokens.slice(0, 512), logits: "none" }]);
    other.dispose();
    const cache = engine.report.cacheBytes / 2;
    const row = 4 * (256 + 2 * 512 + 256 + 512); // x; gate and up; mixed; hidden
    const seen = 2 * 4 * 512 * 128; // keys and values
    // A page list for each row, and what is a row of numbers or less.
    const small = 256 * (4 * 48 + 1200);
    expect(backend.stats.peakBytes - held - cache).toBeLessThan(256 * row + seen + small);
    engine.dispose();
  }));

test("logits go where they are asked to; room of another size is refused", () =>
  withModel({}, async (model) => {
    const packed = await packModel(model);
    for (const engine of [packed, new TransformerEngine(model)]) {
      const [a, b] = [engine.createSequence(), engine.createSequence()];
      const into = new Float32Array(V);
      const [expected] = await engine.forward([{ sequence: a, tokens: tokens.slice(0, 9), logits: "last" }]);
      const [given] = await engine.forward([{ sequence: b, tokens: tokens.slice(0, 9), logits: "last", into }]);
      expect(given).toBe(into);
      expect(given).toEqual(expected);
      const wrong = { sequence: b, tokens: tokens.slice(9, 12), logits: "all", into } as const;
      await expect(engine.forward([wrong])).rejects.toThrow(/"into" has room for 50 logits; expected 150/);
      expect(b.length).toBe(9);
      engine.dispose();
    }
  }));
