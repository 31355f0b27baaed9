// Oracle: ln V for the first loss; the definition of gradient accumulation (the mean over all targets); the promises of
// trainer.ts about skipped steps, flat memory and stopping.
import { expect, test } from "vitest";
import { breakGradients, smallRun } from "../../test/support/small-run.ts";
import type { Batch } from "../data/index.ts";
import { fill } from "../ops/fill/index.ts";
import { DivergenceError } from "../platform/errors.ts";
import type { Callback } from "./events.ts";
import { runTraining } from "./trainer.ts";

test("the first loss is ln V, and a model of a regular text learns", async () => {
  const run = smallRun({ steps: 40 });
  const { reason, state } = await runTraining(run);
  expect(reason).toBe("finished");
  expect(run.losses[0]).toBeCloseTo(Math.log(17), 1);
  expect(run.losses[39]).toBeLessThan(0.7 * run.losses[0]);
  expect(state).toMatchObject({ step: 40, updates: 40, totalTokens: 40 * 32, skippedSteps: 0 });
});

test("the same parts give the same losses, bit for bit", async () => {
  const [a, b] = [smallRun(), smallRun()];
  await runTraining(a);
  await runTraining(b);
  expect(a.losses).toEqual(b.losses);
});

test("micro-batches give the step of the whole batch, also where their targets differ in number", async () => {
  const ignoring = (run: ReturnType<typeof smallRun>) => {
    const next = run.data.next.bind(run.data);
    run.data.next = async (): Promise<Batch> => {
      const batch = await next();
      batch.targets_BT.fill(-100, 8, 23); // the second sequence, and most of the third
      return batch;
    };
    return run;
  };
  const whole = ignoring(smallRun({ modelConfig: { variant: "full" } }));
  const parts = ignoring(smallRun({ microBatch: 3, modelConfig: { variant: "full" } }));
  const single = ignoring(smallRun({ microBatch: 1, modelConfig: { variant: "full" } }));
  const { state } = await runTraining(whole);
  await runTraining(parts);
  await runTraining(single);
  expect(state.totalTokens).toBe(12 * (32 - 15));
  // float32 sums in another order, carried through 12 AdamW steps.
  for (const [i, loss] of whole.losses.entries()) {
    expect(Math.abs(parts.losses[i] - loss)).toBeLessThan(2e-4);
    expect(Math.abs(single.losses[i] - loss)).toBeLessThan(2e-4);
  }
});

test("memory is flat from step 3 on, and comes back when all is disposed", async () => {
  const live: number[] = [];
  const peak: number[] = [];
  const run = smallRun({
    callbacks: [
      {
        name: "memory",
        on(event, { runtime }) {
          if (event.type !== "step") return;
          live.push(runtime.backend.stats.liveBytes);
          peak.push(runtime.backend.stats.peakBytes);
        },
      },
    ],
  });
  await runTraining(run);
  expect(new Set(live.slice(2)).size).toBe(1);
  expect(new Set(peak.slice(2)).size).toBe(1);
  run.optimizer.dispose();
  run.model.dispose();
  expect(run.runtime.backend.stats.liveBytes).toBe(0);
});

test("a step whose gradient is not finite changes nothing and is counted; the next one goes on", async () => {
  const weights: number[] = [];
  const skipped: boolean[] = [];
  const run = smallRun({
    steps: 3,
    callbacks: [
      {
        name: "listener",
        async on(event, { runtime, model }) {
          if (event.type === "step") skipped.push(event.skipped);
          if (event.type === "start" || event.type === "step")
            weights.push((await runtime.readFloats(model.parameters[1].tensor))[0]);
        },
      },
    ],
  });
  breakGradients(run, { steps: [2], value: Number.POSITIVE_INFINITY });
  const { state } = await runTraining(run);
  expect(skipped).toEqual([false, true, false]);
  expect(weights[1]).not.toBe(weights[0]);
  expect(weights[2]).toBe(weights[1]);
  expect(weights[3]).not.toBe(weights[2]);
  expect(state).toMatchObject({ step: 3, updates: 2, skippedSteps: 1, skippedInRow: 0 });
});

test("weights that are not finite stop training after the steps allowed, and the parameter is named", async () => {
  const run = smallRun();
  const bad = run.model.parameters.find(({ name }) => name.includes("layers.1.mlp.down_proj"))!;
  fill(run.runtime.plainContext(), bad.tensor, Number.NaN);
  const error = await runTraining(run).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(DivergenceError);
  expect((error as Error).message).toMatch(
    /in 3 steps in a row, up to step 3; the weights of model.layers.1.mlp.down_proj.weight are not finite; lower optimizer.learningRate/,
  );
  expect(run.losses).toHaveLength(2);
});

test("a gradient that goes wrong on its way back is named by the parameter nearest the loss", async () => {
  const run = smallRun();
  const names = ["model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight"];
  breakGradients(run, { steps: [1, 2, 3], value: Number.POSITIVE_INFINITY, names });
  await expect(runTraining(run)).rejects.toThrow(
    /first gradient that is not finite is that of model.layers.0.mlp.up_proj/,
  );
});

test("an aborted signal ends training after the step under way", async () => {
  const stop = new AbortController();
  const run = smallRun({
    signal: stop.signal,
    callbacks: [
      {
        name: "stopper",
        on(event) {
          if (event.type === "step" && event.step === 4) stop.abort();
        },
      },
    ],
  });
  const { reason, state } = await runTraining(run);
  expect([reason, state.step]).toEqual(["interrupted", 4]);
});

test("callbacks are told in order, may stop training, and are closed whatever happens", async () => {
  const heard: string[] = [];
  const noisy = (name: string, at?: number): Callback => ({
    name,
    on(event, training) {
      heard.push(`${name} ${event.type}`);
      if (event.type === "step" && event.step === at) training.stop("early-stopping");
    },
    close: () => heard.push(`${name} close`),
  });
  const { reason } = await runTraining(smallRun({ callbacks: [noisy("a", 1), noisy("b")] }));
  expect(reason).toBe("early-stopping");
  expect(heard).toEqual([
    "a start",
    "b start",
    "a gradients",
    "b gradients",
    "a step",
    "b step",
    "a end",
    "b end",
    "a close",
    "b close",
  ]);
  const failing: Callback = {
    name: "failing",
    on(event) {
      if (event.type === "step") throw new Error("no");
    },
  };
  heard.length = 0;
  await expect(runTraining(smallRun({ callbacks: [noisy("a"), failing] }))).rejects.toThrow("no");
  expect(heard.at(-1)).toBe("a close");
});
