// Oracle: the model itself without a cache, one text at a time. Bound: products of few rows and of many sum in another order.
import { describe, expect, test } from "vitest";
import { forEachBackend } from "../../test/support/backends.ts";
import { expectClose } from "../../test/support/expect-close.ts";
import { integers } from "../../test/support/random.ts";
import { type ModelConfig, presets, Transformer } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { TransformerEngine } from "./transformer-engine.ts";

const config: ModelConfig = {
  ...presets.arithmetic,
  variant: "full",
  vocabSize: 40,
  width: 32,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 48,
  contextLength: 150,
};

forEachBackend(({ get }) => {
  test("pieces, forks and what follows a truncation give the logits of the whole text", async () => {
    const runtime = new Runtime(await get());
    const model = new Transformer(runtime, config, 5);
    const engine = new TransformerEngine(model);
    const tokens = integers(90, 3, 40);
    const logits = model.logits({ tokens, batch: 1, length: 90 });
    const whole = await runtime.readFloats(logits);
    logits.dispose();
    const rows = (from: number, to: number) => whole.subarray(40 * from, 40 * to);
    const near = (got: Float32Array, want: Float32Array) => expectClose(got, want, { abs: 2e-5 });

    const a = engine.createSequence();
    const b = engine.createSequence();
    const [first, none] = await engine.forward([
      { sequence: a, tokens: tokens.slice(0, 30), logits: "all" },
      { sequence: b, tokens: tokens.slice(0, 5), logits: "none" },
    ]);
    near(first, rows(0, 30));
    expect(none).toHaveLength(0);
    const c = a.fork();
    a.truncate(20);
    const [again, forked, other] = await engine.forward([
      { sequence: a, tokens: tokens.slice(20, 90), logits: "last" },
      { sequence: c, tokens: tokens.slice(30, 90), logits: "all" },
      { sequence: b, tokens: tokens.slice(5, 6), logits: "last" },
    ]);
    near(again, rows(89, 90));
    near(forked, rows(30, 90));
    near(other, rows(5, 6));
    expect([a.length, b.length, c.length]).toEqual([90, 6, 90]);
    const before = runtime.backend.stats.liveBytes;
    engine.dispose();
    expect(runtime.backend.stats.liveBytes).toBeLessThan(before);
    model.dispose();
  });
});

test("hidden states times the head are the logits, in pieces too", async () => {
  const { createReferenceBackend } = await import("../backends/index.ts");
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(runtime, { ...config, tiedHead: false }, 5);
  const engine = new TransformerEngine(model);
  const tokens = integers(12, 3, 40);
  const logits = model.logits({ tokens, batch: 1, length: 12 });
  const expected = await runtime.readFloats(logits);
  const head = await runtime.readFloats(model.parameters.find(({ name }) => name === "lm_head.weight")!.tensor);
  const sequence = engine.createSequence();
  const states = new Float32Array(12 * 32);
  states.set(await engine.hiddenStates(sequence, tokens.slice(0, 7)));
  states.set(await engine.hiddenStates(sequence, tokens.slice(7)), 7 * 32);
  const product = Float32Array.from({ length: 12 * 40 }, (_, i) => {
    const [t, v] = [Math.floor(i / 40), i % 40];
    return states.subarray(t * 32, t * 32 + 32).reduce((sum, x, c) => sum + x * head[v * 32 + c], 0);
  });
  expectClose(product, expected, { abs: 2e-5 });
  expect(sequence.length).toBe(12);
  await expect(engine.hiddenStates(sequence, [40])).rejects.toThrow(/outside the vocabulary/);
  model.dispose();
});

describe("what is refused", () => {
  test("changes no sequence", async () => {
    const { createBackend } = await import("../backends/index.ts");
    const runtime = new Runtime(await createBackend({ backend: "reference" }));
    const model = new Transformer(runtime, config, 5);
    const engine = new TransformerEngine(model);
    const [a, b] = [engine.createSequence(), engine.createSequence()];
    const work = (sequence: typeof a, tokens: number[]) => ({ sequence, tokens, logits: "last" as const });
    await expect(engine.forward([work(a, [1]), work(b, [40])])).rejects.toThrow(/token 40 is outside the vocabulary/);
    await expect(engine.forward([work(a, [1]), work(b, new Array(151).fill(1))])).rejects.toThrow(/do not fit/);
    await expect(engine.forward([work(a, [1]), work(a, [1])])).rejects.toThrow(/twice/);
    await expect(engine.forward([work(a, [])])).rejects.toThrow(/no tokens/);
    expect(() => a.truncate(1)).toThrow(/it has 0/);
    expect([a.length, b.length]).toEqual([0, 0]);
    b.dispose();
    await expect(engine.forward([work(b, [1])])).rejects.toThrow(/disposed of/);
    engine.dispose();
    model.dispose();
  });
});
