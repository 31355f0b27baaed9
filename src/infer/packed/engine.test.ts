// Oracle: the training-time model. All is the same to the bit up to the head, whose float32 sums come in another order: 2e-5
// of logits of about 1. What must not matter (batches, forks, trits or two bits) is held to the bit.
import { describe, expect, test } from "vitest";
import { forEachBackend } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { integers } from "../../../test/support/random.ts";
import { createBackend } from "../../backends/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import type { Engine, Sequence, Work } from "../engine.ts";
import { createPackedEngine, type PackedEngineOptions, packModel } from "./engine.ts";
import { weightsOfModel } from "./weights.ts";

const V = 50;
const config: ModelConfig = {
  ...presets.arithmetic,
  vocabSize: V,
  width: 48,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 72,
  contextLength: 60,
  initStd: 0.15,
};
const tokens = integers(60, 3, V);
const exact = { gatherAbove: 0 } satisfies PackedEngineOptions;
const bits = { abs: 2e-5, rel: 2e-5 };

type Wanted = Work["logits"];
const work = (sequence: Sequence, from: number, to: number, logits: Wanted = "last"): Work => ({
  sequence,
  tokens: tokens.subarray(from, to),
  logits,
});

async function whole(model: Transformer, length: number, documentStart?: Int32Array): Promise<Float32Array> {
  const logits = model.logits({ tokens: tokens.slice(0, length), batch: 1, length, documentStart });
  const values = await model.runtime.readFloats(logits);
  logits.dispose();
  return values;
}

/** Logits of all of the first `length` tokens: a prompt of 11, two, and then one by one. */
async function stepwise(engine: Engine, length: number): Promise<Float32Array> {
  const sequence = engine.createSequence();
  const rows: Float32Array[] = [];
  for (let at = 0; at < length; ) {
    const to = at === 0 ? 11 : at === 11 ? 13 : at + 1;
    rows.push((await engine.forward([work(sequence, at, to, "all")]))[0]);
    at = to;
  }
  sequence.dispose();
  const all = new Float32Array(length * V);
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

forEachBackend(({ get }) => {
  test("hidden states times the head are the model's logits, in one piece and in several", async () => {
    const model = new Transformer(new Runtime(await get()), { ...config, tiedHead: false }, 5);
    const engine = await packModel(model, exact);
    const head = await model.runtime.readFloats(model.parameters.find(({ name }) => name === "lm_head.weight")!.tensor);
    const expected = await whole(model, 30);
    for (const pieces of [[30], [20, 9, 1]]) {
      const sequence = engine.createSequence();
      const logits = new Float32Array(30 * V);
      let at = 0;
      for (const count of pieces) {
        const states = await engine.hiddenStates(sequence, tokens.subarray(at, at + count));
        for (let i = 0; i < count * V; i++) {
          const [t, v] = [Math.floor(i / V), i % V];
          let sum = 0;
          for (let c = 0; c < config.width; c++) sum += states[t * config.width + c] * head[v * config.width + c];
          logits[at * V + i] = sum;
        }
        at += count;
      }
      expect(sequence.length).toBe(30);
      expectClose(logits, expected, bits);
      sequence.dispose();
    }
    engine.dispose();
    model.dispose();
  });

  const withModel = async (more: Partial<ModelConfig>, body: (model: Transformer) => Promise<void>) => {
    const model = new Transformer(new Runtime(await get()), { ...config, ...more }, 5);
    try {
      await body(model);
    } finally {
      model.dispose();
    }
  };

  test.for([
    { name: "silu, tied", more: {} },
    { name: "squared ReLU, head apart", more: { activation: "relu2", tiedHead: false, kvHeads: 4 } },
  ] as const)("with training's attention, logits are training's: $name", ({ more }) =>
    withModel(more, async (model) => {
      const engine = await packModel(model, exact);
      expectClose(await stepwise(engine, 30), await whole(model, 30), bits);
      engine.dispose();
    }),
  );

  test("by default, prompts over training's attention and tokens over pages, too; trits and two bits give the same bits", () =>
    withModel({ tiedHead: false }, async (model) => {
      const engine = await packModel(model);
      const got = await stepwise(engine, 40);
      expectClose(got, await whole(model, 40), bits);
      const trits = await packModel(model, { weights: "trits" });
      expect(await stepwise(trits, 40)).toEqual(got);
      engine.dispose();
      trits.dispose();
    }));

  test("a prompt's last logits are the same bits whether the others are asked for or not, alone and beside others", () =>
    withModel({}, async (model) => {
      const engine = await packModel(model);
      const [all, last, none, other] = Array.from({ length: 4 }, () => engine.createSequence());
      const every = (await engine.forward([work(all, 0, 40, "all")]))[0];
      const [one] = await engine.forward([work(last, 0, 40)]);
      expect(one).toEqual(every.subarray(39 * V));
      // Of a batch with nobody's logits and a last one's; the next tokens see what the first pass kept.
      const [nothing, beside] = await engine.forward([work(none, 0, 33, "none"), work(other, 0, 21)]);
      expect(nothing).toEqual(new Float32Array(0));
      expect(beside).toEqual(every.subarray(20 * V, 21 * V));
      const later = await engine.forward([work(none, 33, 40, "all"), work(other, 21, 40)]);
      expect(later[0]).toEqual(every.subarray(33 * V));
      expect(later[1]).toEqual(every.subarray(39 * V));
      engine.dispose();
    }));

  test("a full-precision model gives training's logits", () =>
    withModel({ variant: "full" }, async (model) => {
      const engine = await packModel(model);
      expectClose(await stepwise(engine, 30), await whole(model, 30), { abs: 1e-4, rel: 1e-4 });
      engine.dispose();
    }));

  test("a sequence gives the same bits alone and among others, forked, cut back, and after others have gone", () =>
    withModel({}, async (model) => {
      const engine = await packModel(model);
      const alone = engine.createSequence();
      await engine.forward([work(alone, 0, 5, "none")]);
      const want: Float32Array[] = [];
      for (let at = 5; at < 40; at++) want.push((await engine.forward([work(alone, at, at + 1)]))[0]);

      const [a, b, c] = [engine.createSequence(), engine.createSequence(), engine.createSequence()];
      await engine.forward([work(b, 9, 10, "none"), work(a, 0, 5, "none"), work(c, 20, 22, "none")]);
      let forked: Sequence | null = null;
      for (let at = 5; at < 40; at++) {
        // c lives for a while; a is forked in the middle of a page, and its fork writes other tokens.
        const others = at < 20 ? [work(c, at, at + 1, "none")] : [];
        if (at === 20) c.dispose();
        if (at === 22) forked = a.fork();
        if (forked && at < 30) others.push(work(forked, 59 - at, 60 - at));
        const results = await engine.forward([...others, work(a, at, at + 1), work(b, at, at + 1)]);
        expect(results[others.length]).toEqual(want[at - 5]);
      }
      // Back to where the fork began, on pages that both hold.
      forked?.truncate(22);
      for (let at = 22; at < 40; at++)
        expect((await engine.forward([work(forked as Sequence, at, at + 1)]))[0]).toEqual(want[at - 5]);
      a.truncate(7);
      for (let at = 7; at < 12; at++) expect((await engine.forward([work(a, at, at + 1)]))[0]).toEqual(want[at - 5]);
      expect([a.length, b.length, c.length, forked?.length]).toEqual([12, 36, 0, 40]);
      engine.dispose();
    }));

  test("long prompts and single tokens share a batch", () =>
    withModel({}, async (model) => {
      const engine = await packModel(model, { gatherAbove: 4 });
      const want = await whole(model, 50);
      const [a, b, c] = [engine.createSequence(), engine.createSequence(), engine.createSequence()];
      await engine.forward([work(b, 0, 20, "none")]);
      const results = await engine.forward([work(a, 0, 50, "all"), work(b, 20, 21), work(c, 0, 30)]);
      expectClose(results[0], want, bits);
      expectClose(results[1], want.subarray(20 * V, 21 * V), bits);
      expectClose(results[2], want.subarray(29 * V, 30 * V), bits);
      engine.dispose();
    }));

  test("with attention over pages throughout, logits do not depend on how a prompt is cut", () =>
    withModel({}, async (model) => {
      const engine = await packModel(model, { gatherAbove: Number.MAX_SAFE_INTEGER, head: "int8", cache: "f16" });
      const cut = async (ends: number[]) => {
        const sequence = engine.createSequence();
        let last = new Float32Array(0);
        for (const [i, to] of ends.entries())
          [last] = (await engine.forward([work(sequence, ends[i - 1] ?? 0, to)])) as Float32Array<ArrayBuffer>[];
        sequence.dispose();
        return last;
      };
      const whole = await cut([50]);
      for (const ends of [[49, 50], [8, 17, 50], [1, 2, 3, 30, 50], Array.from({ length: 50 }, (_, i) => i + 1)])
        expect(await cut(ends)).toEqual(whole);
      engine.dispose();
    }));

  test("a sliding sequence sees the last tokens of its context", () =>
    withModel({ contextLength: 60 }, async (model) => {
      const window = 20;
      const source = weightsOfModel(model);
      const options = { overflow: "slide" as const };
      const short = { ...model.config, contextLength: window };
      const mask = Int32Array.from({ length: 60 }, (_, t) => Math.max(0, t - window + 1));
      const want = await whole(model, 60, mask);
      const engine = await createPackedEngine(model.runtime.backend, short, source, { ...options, ...exact });
      expectClose(await stepwise(engine, 60), want, bits);
      const pages = await createPackedEngine(model.runtime.backend, short, source, options);
      const sequence = pages.createSequence();
      await pages.forward([work(sequence, 0, 35, "none")]);
      for (let at = 35; at < 60; at++)
        expectClose((await pages.forward([work(sequence, at, at + 1)]))[0], want.subarray(at * V, (at + 1) * V), bits);
      expect(() => sequence.truncate(30)).toThrow(/has slid out/);
      sequence.truncate(58);
      expectClose((await pages.forward([work(sequence, 58, 60)]))[0], want.subarray(59 * V), bits);
      pages.dispose();
      engine.dispose();
    }));

  test.for([
    ["f16", 0.9999],
    ["int8", 0.998],
    ["int4", 0.95],
  ] as const)("a cache in %s stays close, by pages and gathered", ([cache, least]) =>
    withModel({}, async (model) => {
      const want = await whole(model, 40);
      for (const gatherAbove of [0, 8]) {
        const engine = await packModel(model, { cache, gatherAbove });
        expect(cosine(await stepwise(engine, 40), want)).toBeGreaterThan(least);
        engine.dispose();
      }
    }),
  );

  // A tied head's format is the embeddings' too, and what that rounds may move int8 codes from the first layer on.
  test.for([
    ["bf16", 0.999],
    ["f16", 0.9995],
    ["int8", 0.998],
    ["int4", 0.97],
  ] as const)("a head in %s stays close", ([head, least]) =>
    withModel({}, async (model) => {
      const engine = await packModel(model, { head, ...exact });
      const got = await stepwise(engine, 30);
      expect(cosine(got, await whole(model, 30))).toBeGreaterThan(least);
      engine.dispose();
    }),
  );

  test("float activations give other logits, nearby, in few rows and in many", () =>
    withModel({}, async (model) => {
      const engine = await packModel(model, { floatActivations: true });
      const got = await stepwise(engine, 30);
      const near = cosine(got, await whole(model, 30));
      expect(near).toBeGreaterThan(0.99);
      expect(near).toBeLessThan(0.9999999);
      engine.dispose();
    }));

  test("all memory comes back", () =>
    withModel({}, async (model) => {
      const { stats } = model.runtime.backend;
      const engine0 = await packModel(model); // training's own copy of the ternary weights is made once
      engine0.dispose();
      const before = stats.liveBytes;
      const engine = await packModel(model);
      await stepwise(engine, 40);
      expect(stats.liveBytes).toBeGreaterThan(before);
      engine.dispose();
      expect(stats.liveBytes).toBe(before);
    }));
});

describe("what is refused", () => {
  test("changes no sequence", async () => {
    const model = new Transformer(new Runtime(await createBackend({ backend: "reference" })), config, 5);
    const engine = await packModel(model);
    const [a, b] = [engine.createSequence(), engine.createSequence()];
    await engine.forward([work(a, 0, 50, "none")]);
    await expect(engine.forward([work(b, 0, 5), work(a, 0, 11)])).rejects.toThrow(/do not fit the context of 60/);
    await expect(engine.forward([{ sequence: b, tokens: [V], logits: "last" }])).rejects.toThrow(/outside the vocab/);
    expect([a.length, b.length]).toEqual([50, 0]);
    b.dispose();
    await expect(engine.forward([work(b, 0, 5)])).rejects.toThrow(/disposed of/);
    expect(() => b.fork()).toThrow(/disposed of/);
    expect(() => a.truncate(51)).toThrow(/it has 50/);
    engine.dispose();
    expect(() => engine.createSequence()).toThrow(/disposed of/);
    await expect(packModel(model, { gatherAbove: -1 })).rejects.toThrow(/gatherAbove/);
    const source = { ...weightsOfModel(model), floats: async () => new Float32Array(3) };
    await expect(createPackedEngine(model.runtime.backend, config, source)).rejects.toThrow(
      /embed_tokens.weight: 3 numbers came/,
    );
    model.dispose();
  });
});
