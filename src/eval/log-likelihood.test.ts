// Oracles: log-likelihoods of 200 published multiple-choice items (600 requests) by a PyTorch program on the same weights,
// for both variants (test/fixtures/log-likelihood/README.md); lm-evaluation-harness's `_encode_pair` by its rule; a forward
// pass over the whole text of each request, one by one.
// Bounds: full: float32 here, float64 there, sums of up to 40 terms of up to 20 nats. bitnet: an activation that lies within
// float error of a rounding boundary takes the next int8 code, which moves what follows by a 127th of its row's largest; a
// few requests of a hundred meet one.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { createBackend } from "../backends/index.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { loadModel } from "../exchange/index.ts";
import { type Engine, TransformerEngine } from "../infer/index.ts";
import { Runtime } from "../tensor/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { encodePair, type LikelihoodGroup, scoreLikelihoods } from "./log-likelihood.ts";
import { readTaskRows } from "./task-rows.ts";
import { findTask } from "./tasks/index.ts";

const fixture = resolve(import.meta.dirname, "../../test/fixtures/log-likelihood");
type Expected = Record<string, Record<string, [logProbability: number, greedy: boolean][][]>>;
const expected = JSON.parse(readFileSync(join(fixture, "expected.json"), "utf8")) as Expected;

async function open(variant: string, runtime = new Runtime(createReferenceBackend())) {
  const { model, tokenizer } = await loadModel(join(fixture, variant), runtime);
  return { engine: new TransformerEngine(model), tokenizer: tokenizer as Tokenizer };
}

async function groupsOf(name: string): Promise<LikelihoodGroup[]> {
  const task = findTask(name);
  if (task.kind !== "multiple-choice") throw new Error(name);
  return (await readTaskRows(join(fixture, `${name}.jsonl`))).map((row) => {
    const item = task.read(row);
    const requests = item.continuations.map((continuation, i) => ({ context: item.contexts[i], continuation }));
    return { where: item.where, requests };
  });
}

describe("against PyTorch", () => {
  test.for([
    ["full", "openbookqa"],
    ["full", "copa"],
    ["bitnet", "openbookqa"],
    ["bitnet", "copa"],
  ] as const)("log-likelihoods and greedy answers of 100 items agree: %s, %s", async ([variant, name]) => {
    const backend = await createBackend({ backend: "auto", threads: 1 });
    const { engine, tokenizer } = await open(variant, new Runtime(backend));
    const startToken = tokenizer.endOfText;
    const scored = await scoreLikelihoods(engine, tokenizer, await groupsOf(name), { batch: 7, startToken });
    const pairs = scored.flatMap((choices, i) =>
      choices.map((got, c) => ({ got, want: expected[variant][name][i][c] })),
    );
    expect(pairs).toHaveLength(name === "copa" ? 200 : 400);
    const far = pairs.map(({ got, want }) => Math.abs(got.logProbability - want[0])).sort((a, b) => a - b);
    // Measured: full 2e-5 at most; bitnet 4e-6 at 95 of 100, 0.05 at most.
    expect(far[Math.floor(0.95 * far.length)]).toBeLessThan(5e-5);
    expect(far[far.length - 1]).toBeLessThan(variant === "full" ? 1e-4 : 0.1);
    expect(pairs.filter(({ got, want }) => got.greedy !== want[1])).toEqual([]);
    engine.dispose();
    backend.close();
  });
});

/** Counts what goes through. */
function watch(engine: Engine): Engine & { tokens: number; open: number } {
  const watched = {
    vocabSize: engine.vocabSize,
    contextLength: engine.contextLength,
    tokens: 0,
    open: 0,
    createSequence: () => engine.createSequence(),
    forward(batch: Parameters<Engine["forward"]>[0]) {
      for (const { tokens } of batch) watched.tokens += tokens.length;
      return engine.forward(batch);
    },
    dispose: () => engine.dispose(),
  };
  return watched;
}

test("the batch size and the order of groups change no likelihood; what choices share goes through once", async () => {
  const { engine, tokenizer } = await open("full");
  const watched = watch(engine);
  const groups = (await groupsOf("copa")).slice(0, 9);
  const score = (some: LikelihoodGroup[], batch: number) =>
    scoreLikelihoods(watched, tokenizer, some, { batch, startToken: tokenizer.endOfText });
  const one = await score(groups, 1);
  const shared = watched.tokens;
  const all = await score([...groups].reverse(), 4);
  for (const [i, choices] of one.entries())
    for (const [c, { logProbability }] of choices.entries())
      expect(all[8 - i][c].logProbability).toBeCloseTo(logProbability, 5);
  // Each request on its own, as a group of one.
  watched.tokens = 0;
  const single = await score(
    groups.flatMap(({ where, requests }) => requests.map((request) => ({ where, requests: [request] }))),
    3,
  );
  expect(shared).toBeLessThan(0.75 * watched.tokens);
  for (const [i, [{ logProbability }]] of single.entries())
    expect(logProbability).toBeCloseTo(one[Math.floor(i / 2)][i % 2].logProbability, 4);
  expect(engine.contextLength).toBe(128);
});

test("contexts that differ and one continuation: each choice gets its own (WinoGrande)", async () => {
  const { engine, tokenizer } = await open("bitnet");
  const requests = ["The dog", "The old cat", "The dog"].map((context) => ({ context, continuation: " ran home." }));
  const options = { batch: 2, startToken: tokenizer.endOfText };
  const [together] = await scoreLikelihoods(engine, tokenizer, [{ where: "here", requests }], options);
  const apart = await scoreLikelihoods(
    engine,
    tokenizer,
    requests.map((request) => ({ where: "here", requests: [request] })),
    options,
  );
  for (const [i, [{ logProbability }]] of apart.entries())
    expect(together[i].logProbability).toBeCloseTo(logProbability, 4);
  expect(together[0]).toEqual(together[2]);
  expect(together[0].logProbability).not.toBeCloseTo(together[1].logProbability, 2);
});

test("the text is encoded whole and split at the context's length; white space at the context's end moves over", async () => {
  const { tokenizer } = await open("full");
  const [context, continuation] = encodePair(tokenizer, "A dog \n", "barks");
  expect(tokenizer.decode(context)).toBe("A dog");
  expect(tokenizer.decode(continuation)).toBe(" \nbarks");
  expect(encodePair(tokenizer, "  ", "barks")[0]).toEqual([]);
});

test("a context over the model's is cut at its beginning, and said so; a continuation over it is scored window by window", async () => {
  const { engine, tokenizer } = await open("full");
  const score = (context: string, continuation: string) =>
    scoreLikelihoods(engine, tokenizer, [{ where: "t.jsonl: line 3", requests: [{ context, continuation }] }], {
      batch: 1,
      startToken: tokenizer.endOfText,
    });
  const long = "a very long walk ".repeat(24);
  const [[cut]] = await score(long, " home");
  expect(cut.truncated).toBe(true);
  expect((await score("short", " home"))[0][0].truncated).toBe(false);
  // What is left is the last 128 tokens: more in front changes nothing.
  expect((await score(`xyz ${long}`, " home"))[0][0].logProbability).toBe(cut.logProbability);

  // Of 128 + r tokens: the first 128 from the context's last token on, the last r in a full window of their own.
  const [context, targets] = encodePair(tokenizer, "short", long);
  const rest = targets.length - 128;
  expect(rest).toBeGreaterThan(0);
  expect(rest).toBeLessThan(128);
  const logProbability = async (input: number[], wanted: number[]) => {
    const sequence = engine.createSequence();
    const [logits] = await engine.forward([{ sequence, tokens: input, logits: "all" }]);
    sequence.dispose();
    let sum = 0;
    for (const [i, id] of wanted.entries()) {
      const at = (input.length - wanted.length + i) * engine.vocabSize;
      const row = Array.from(logits.subarray(at, at + engine.vocabSize));
      sum += row[id] - Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
    }
    return sum;
  };
  const expectedSum =
    (await logProbability([context[context.length - 1], ...targets.slice(0, 127)], targets.slice(0, 128))) +
    (await logProbability(targets.slice(rest - 1, -1), targets.slice(-rest)));
  const [[windows]] = await score("short", long);
  expect(windows).toMatchObject({ tokens: targets.length, truncated: true });
  expect(windows.logProbability / expectedSum).toBeCloseTo(1, 5);
  await expect(score("short", "")).rejects.toThrow('t.jsonl: line 3: the continuation "" has no tokens');
});

test("an abort ends it between batches, and nothing stays behind", async () => {
  const backend = createReferenceBackend();
  const runtime = new Runtime(backend);
  const { engine, tokenizer } = await open("full", runtime);
  const before = backend.stats.liveBytes;
  const controller = new AbortController();
  const options = {
    batch: 2,
    startToken: 0,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("stop")),
  };
  await expect(scoreLikelihoods(engine, tokenizer, await groupsOf("copa"), options)).rejects.toThrow("stop");
  expect(backend.stats.liveBytes).toBe(before);
});
