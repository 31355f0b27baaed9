// Oracle: an engine that moves a clock on by a known time for each token, so that every rate is known; no real time is taken.
import { expect, test } from "vitest";
import type { Engine, Sequence } from "../infer/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { measureSpeed } from "./speed.ts";

/** 2 ms for each token of a prompt (times `slower`), 5 ms for each token alone; logits are of the last token and the length. */
function clockedEngine(wrong = false, slower = 1) {
  let now = 0;
  const order: string[] = [];
  const lengths = new Map<Sequence, number>();
  const engine: Engine = {
    vocabSize: 8,
    contextLength: 100,
    createSequence() {
      const sequence = { length: 0, truncate() {}, fork: () => sequence, dispose() {} } as Sequence;
      lengths.set(sequence, 0);
      return sequence;
    },
    async forward(batch) {
      const [{ sequence, tokens }] = batch;
      now += tokens.length === 1 ? 5 : 2 * slower * tokens.length;
      order.push(String(tokens.length));
      const length = (lengths.get(sequence) ?? 0) + tokens.length;
      lengths.set(sequence, length);
      const last = tokens[tokens.length - 1];
      const sign = wrong && tokens.length === 1 ? -1 : 1;
      return [Float32Array.from({ length: 8 }, (_, v) => sign * (v === last ? 3 : 1))];
    },
    dispose() {},
  };
  const stats = { liveBytes: 1000, peakBytes: 9999 };
  return { engine, backend: { stats }, clock: { monotonicMs: () => now, epochMs: () => 0 } };
}

test("rates are tokens over the clock's time, and sizes are cut to the context", async () => {
  const { engine, backend, clock } = clockedEngine();
  const [speed] = await measureSpeed([{ name: "a", engine, backend }], { clock, samples: 4 });
  expect(speed.prompt).toMatchObject({ name: "pp100", tokens: 100, samples: 4 });
  expect(speed.prompt!.mean).toBeCloseTo(500, 6);
  expect(speed.prompt!.deviation).toBeCloseTo(0, 6);
  expect(speed.decode).toMatchObject({ name: "tg99", samples: 4 });
  expect(speed.decode!.mean).toBeCloseTo(200, 6);
  expect(speed.firstToken!.tokens).toBe(64);
  expect(speed.firstToken!.mean).toBeCloseTo(128, 6);
});

test("the peak is of the time that is measured, not of the loading before", async () => {
  const { engine, backend, clock } = clockedEngine();
  const [speed] = await measureSpeed([{ name: "a", engine, backend }], { clock, samples: 2 });
  expect(speed).toMatchObject({ loadedBytes: 1000, peakBytes: 1000 });
});

test("contenders take turns: each is timed in both rounds", async () => {
  const a = clockedEngine();
  const said: string[] = [];
  const contenders = ["x", "y"].map((name) => ({ name, engine: a.engine, backend: a.backend }));
  await measureSpeed(contenders, {
    clock: a.clock,
    samples: 2,
    promptTokens: 10,
    onProgress: (what) => said.push(what),
  });
  const prompts = said.filter((what) => /prompt/.test(what)).map((what) => what.slice(7));
  expect(prompts).toEqual([
    "x: prompt, round 1 of 2",
    "y: prompt, round 1 of 2",
    "x: prompt, round 2 of 2",
    "y: prompt, round 2 of 2",
  ]);
});

test("an engine whose answers are wrong is not timed; fewer samples than rounds are refused", async () => {
  const { engine, backend, clock } = clockedEngine(true);
  const contenders = [{ name: "broken", engine, backend }];
  await expect(measureSpeed(contenders, { clock })).rejects.toThrow(DataError);
  await expect(measureSpeed(contenders, { clock, samples: 1 })).rejects.toThrow(UsageError);
});

test("of one model's engines, one that is far behind in a first run of a row is not timed at it", async () => {
  const [quick, slow] = [clockedEngine(), clockedEngine(false, 3)];
  const shared = { monotonicMs: () => quick.clock.monotonicMs() + slow.clock.monotonicMs(), epochMs: () => 0 };
  const contenders = [
    { name: "quick", model: "m", engine: quick.engine, backend: quick.backend },
    { name: "slow", model: "m", engine: slow.engine, backend: slow.backend },
    { name: "another", engine: slow.engine, backend: slow.backend },
  ];
  const [a, b, c] = await measureSpeed(contenders, { clock: shared, samples: 2 });
  expect([a.prompt?.mean, a.decode?.mean].map((x) => Math.round(x!))).toEqual([500, 200]);
  // Three times as long for a prompt, the same for a token alone.
  expect([b.prompt, b.firstToken]).toEqual([null, null]);
  expect(Math.round(b.decode!.mean)).toBe(200);
  expect(c.prompt!.mean).toBeCloseTo(500 / 3, 6);
});

test("a signal that comes while engines compute, without a turn of the event loop between, ends the timing at the next run", async () => {
  const { engine, backend, clock } = clockedEngine();
  const controller = new AbortController();
  let runs = 0;
  const heard: Engine = {
    ...engine,
    forward(batch) {
      // As a press of Ctrl-C: it waits for the event loop.
      if (runs++ === 40) setImmediate(() => controller.abort(new Error("Ctrl-C")));
      return engine.forward(batch);
    },
  };
  const options = { clock, samples: 6, signal: controller.signal };
  await expect(measureSpeed([{ name: "a", engine: heard, backend }], options)).rejects.toThrow("Ctrl-C");
  expect(runs).toBeLessThan(200); // all of them would be 649
});
