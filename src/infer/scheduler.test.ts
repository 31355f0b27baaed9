// Oracles: the same text written alone (generate.ts), which on the reference backend is equal to the bit whatever runs
// beside it; a scripted engine that tells what was fed in which pass.
import { describe, expect, test } from "vitest";
import { createScriptedEngine, type ScriptedEngine } from "../../test/support/scripted-engine.ts";
import { byteTokenizer as bytes, createSmallEngine } from "../../test/support/small-model.ts";
import type { Work } from "./engine.ts";
import { generateText } from "./generate.ts";
import { QueueFullError, type ScheduledText, Scheduler, type SchedulerOptions } from "./scheduler.ts";

const greedy = { maxTokens: 10, temperature: 0, stopTokens: [] as number[] };
/** Writes "xxx..." for ever. */
const engineOf = (during?: (batch: readonly Work[]) => Promise<void> | void): ScriptedEngine =>
  createScriptedEngine(257, 1000, (_, logits) => logits.set([1], 120), during);
const make = (engine: ScriptedEngine, options: SchedulerOptions = {}) =>
  new Scheduler(engine, bytes, { cacheTokens: 0, ...options });
async function textOf(scheduled: ScheduledText): Promise<string> {
  let text = "";
  for await (const token of scheduled) text += token.text;
  return text;
}

test("texts written as one batch are those written alone, whatever joins and leaves beside them", async () => {
  const { engine } = createSmallEngine();
  const requests = Array.from({ length: 9 }, (_, i) => ({
    prompt: ["abc", "a longer prompt, of some length", "x", ""][i % 4] + "!".repeat(i % 3),
    options: { maxTokens: 3 + 5 * (i % 3), temperature: i % 2, topK: 5, seed: i, draftTokens: i % 3 },
  }));
  const alone = [];
  for (const { prompt, options } of requests) alone.push(await generateText(engine, bytes, prompt, options));
  const scheduler = new Scheduler(engine, bytes, { slots: 3, prefillTokens: 16, prefillBesideTokens: 5 });
  const together = await Promise.all(
    requests.map(async ({ prompt, options }) => {
      const scheduled = scheduler.submit(prompt, options);
      const text = await textOf(scheduled);
      expect(await scheduled.done).toBe(scheduled.report);
      return { text, finish: scheduled.report.finish, count: scheduled.report.generatedTokens };
    }),
  );
  expect(together).toEqual(
    alone.map(({ text, report }) => ({ text, finish: report.finish, count: report.generatedTokens })),
  );
  expect(scheduler.stats).toMatchObject({ active: 0, waiting: 0, submitted: 9, finished: 9, refused: 0 });
  await scheduler.close();
});

test("a long prompt is read in pieces beside a text being written, which gets a token in every pass", async () => {
  const engine = engineOf();
  const scheduler = make(engine, { slots: 2, prefillTokens: 100, prefillBesideTokens: 8 });
  const first = scheduler.submit("a", { ...greedy, maxTokens: 12 });
  const iterator = first[Symbol.asyncIterator]();
  await iterator.next();
  const second = scheduler.submit(new Array(40).fill(65), { ...greedy, maxTokens: 2, startToken: null });
  await Promise.all([first.done, second.done]);
  const shared = engine.passes.filter((parts) => parts.length === 2);
  expect(shared.map((parts) => parts.map((part) => part.length)).slice(0, 5)).toEqual([
    [1, 8],
    [1, 8],
    [1, 8],
    [1, 8],
    [1, 8],
  ]);
  expect(second.report.generatedTokens).toBe(2);
  await scheduler.close();
  expect(engine.open()).toBe(0);
});

test("prompts share a pass: a short one is through at once, the longer take what it leaves", async () => {
  const engine = engineOf();
  const scheduler = make(engine, { prefillTokens: 30 });
  for (const length of [100, 4, 100])
    scheduler.submit(new Array(length).fill(65), { ...greedy, maxTokens: 1, startToken: null });
  await scheduler.close();
  expect(engine.passes[0].map((part) => part.length)).toEqual([13, 4, 13]);
});

test("texts wait their turn in order; past the queue they are refused", async () => {
  const engine = engineOf();
  const scheduler = make(engine, { slots: 1, queue: 2 });
  const order: number[] = [];
  const texts = [0, 1, 2].map((i) => {
    const text = scheduler.submit(String(i), { ...greedy, maxTokens: 2 });
    text.done.then(() => order.push(i));
    return text;
  });
  expect(() => scheduler.submit("3", greedy)).toThrow(QueueFullError);
  expect(scheduler.stats).toMatchObject({ active: 0, waiting: 3, refused: 1 });
  await Promise.all(texts.map(({ done }) => done));
  expect(order).toEqual([0, 1, 2]);
  scheduler.submit("4", { ...greedy, maxTokens: 1 });
  await scheduler.close();
  expect(() => scheduler.submit("5", greedy)).toThrow("scheduler: is closed");
});

describe("cancelling", () => {
  for (const [how, leave] of [
    ["cancel()", (text: ScheduledText) => text.cancel()],
    ["the signal", (_: ScheduledText, controller: AbortController) => controller.abort()],
  ] as const)
    test(`by ${how} frees a slot for the next in the queue, amid a pass after it, and a place in the queue at once`, async () => {
      let open: () => void = () => {};
      let atPass: () => void = () => {};
      const entered = new Promise<void>((resolve) => {
        atPass = resolve;
      });
      let held = true;
      const engine = engineOf(() => {
        if (!held) return;
        atPass();
        return new Promise<void>((resolve) => {
          open = resolve;
        });
      });
      const scheduler = make(engine, { slots: 1 });
      const controllers = [0, 1, 2].map(() => new AbortController());
      const texts = controllers.map(({ signal }) => scheduler.submit("a", { ...greedy, maxTokens: 3, signal }));
      await entered; // the first amid its first pass
      leave(texts[1], controllers[1]);
      expect((await texts[1].done).finish).toBe("aborted");
      expect(scheduler.stats).toMatchObject({ active: 1, waiting: 1 });
      leave(texts[0], controllers[0]);
      expect(scheduler.stats.active).toBe(1); // its sequence is in the pass
      held = false;
      open();
      expect(await texts[0].done).toMatchObject({ finish: "aborted", generatedTokens: 0 });
      expect(await texts[2].done).toMatchObject({ finish: "length", generatedTokens: 3 });
      await scheduler.close();
      expect(engine.open()).toBe(0);
    });

  test("a reader that leaves its iterator frees the slot; one that is gone before it begins takes none", async () => {
    const engine = engineOf();
    const scheduler = make(engine, { slots: 1 });
    const text = scheduler.submit("a", { ...greedy, maxTokens: 500 });
    for await (const _ of text) break;
    expect((await text.done).finish).toBe("aborted");
    expect(text.report.generatedTokens).toBeLessThan(20);
    const gone = scheduler.submit("a", { ...greedy, signal: AbortSignal.abort() });
    expect(gone.report).toMatchObject({ finish: "aborted", generatedTokens: 0 });
    await scheduler.close();
    expect(engine.open()).toBe(0);
  });

  test("closing lets texts end, or ends them", async () => {
    for (const cancel of [false, true]) {
      const engine = engineOf();
      const scheduler = make(engine, { slots: 1 });
      const texts = ["a", "b"].map((prompt) => scheduler.submit(prompt, greedy));
      await scheduler.close({ cancel });
      expect(texts.map(({ report }) => report.finish)).toEqual(cancel ? ["aborted", "aborted"] : ["length", "length"]);
      expect(engine.open()).toBe(0);
    }
  });
});

test("an engine that fails ends the texts of that pass with its error, and those that wait go on", async () => {
  let passes = 0;
  const engine = engineOf(() => {
    if (++passes === 2) throw new Error("out of memory");
  });
  const scheduler = make(engine, { slots: 2 });
  const texts = ["a", "b", "c"].map((prompt) => scheduler.submit(prompt, { ...greedy, maxTokens: 4 }));
  await expect(textOf(texts[0])).rejects.toThrow("out of memory");
  await expect(texts[1].done).rejects.toThrow("out of memory");
  expect(await textOf(texts[2])).toBe("xxxx");
  await scheduler.close();
  expect(engine.open()).toBe(0);
});

test("a text whose logits are not finite ends alone", async () => {
  const engine = createScriptedEngine(257, 100, (tokens, logits) => {
    logits[120] = tokens[1] === 98 ? Number.NaN : 1;
  });
  const scheduler = make(engine);
  const texts = ["a", "b", "c"].map((prompt) => scheduler.submit(prompt, greedy));
  await expect(texts[1].done).rejects.toThrow("the model's logit of token 120 is NaN");
  expect(await Promise.all([textOf(texts[0]), textOf(texts[2])])).toEqual(["xxxxxxxxxx", "xxxxxxxxxx"]);
  await scheduler.close();
});

test("a prompt that begins as another did, or does, is not read twice", async () => {
  const engine = engineOf();
  const scheduler = make(engine, { slots: 2, cacheTokens: 500 });
  const system = new Array(30).fill(65);
  const first = scheduler.submit([...system, 1], { ...greedy, startToken: null });
  await first[Symbol.asyncIterator]().next();
  const beside = scheduler.submit([...system, 2], { ...greedy, startToken: null });
  await Promise.all([first.done, beside.done]);
  const after = scheduler.submit([...system, 1, 7], { ...greedy, startToken: null });
  await after.done;
  expect([first, beside, after].map(({ report }) => report.cachedTokens)).toEqual([0, 30, 31]);
  expect(scheduler.stats).toMatchObject({ cachedPromptTokens: 61, promptTokens: 94 });
  expect(scheduler.stats.cacheTokens).toBeGreaterThan(30);
  await scheduler.close();
  expect(engine.open()).toBe(0);
});

test("limits on a request, and settings out of range, are told before anything is queued", async () => {
  const scheduler = make(engineOf(), { limits: { maxTokens: 5, promptTokens: 3 } });
  expect(() => scheduler.submit("a", { ...greedy, maxTokens: 6 })).toThrow("maxTokens is 6; at most 5 are allowed");
  expect(() => scheduler.submit("abcd", { ...greedy, maxTokens: 1 })).toThrow("the prompt has 5 tokens; at most 3");
  expect(() => scheduler.submit("a", { ...greedy, maxTokens: 1, topP: 2 })).toThrow("topP is 2");
  expect(scheduler.stats).toMatchObject({ waiting: 0, submitted: 0 });
  await scheduler.close();
  expect(() => make(engineOf(), { slots: 0 })).toThrow("slots is 0; expected a whole number from 1");
});

test("times are told by the clock passed in, the wait in the queue apart", async () => {
  let now = 0;
  const clock = { monotonicMs: () => now, epochMs: () => 0 };
  const engine = engineOf(() => {
    now += 10;
  });
  const scheduler = make(engine, { slots: 1, clock });
  const texts = [0, 1].map(() => scheduler.submit("abc", { ...greedy, maxTokens: 3 }));
  await Promise.all(texts.map(({ done }) => done));
  expect(texts[0].report).toMatchObject({ queuedMs: 0, promptMs: 10, generationMs: 20 });
  expect(texts[1].report).toMatchObject({ queuedMs: 30, promptMs: 10, generationMs: 20 });
  await scheduler.close();
});
