// Oracle: the rules in each callback's header, played through by hand with made-up events; the small model for numbers.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { breakGradients, smallRun, steppingClock } from "../../../test/support/small-run.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import type { Callback, StepEvent, StopReason, Training, TrainingEvent } from "../events.ts";
import { runTraining } from "../trainer.ts";
import { checkpoints } from "./checkpoints.ts";
import { earlyStopping } from "./early-stopping.ts";
import { metrics } from "./metrics.ts";
import { summary } from "./summary.ts";
import { flatten, tensorboard } from "./tensorboard.ts";

/** Plays events to a callback; `emit` goes back to it, as the trainer's does. */
function play(callback: Callback, steps = 100) {
  const stops: StopReason[] = [];
  const emitted: TrainingEvent[] = [];
  const training = {
    steps,
    stop: (reason: StopReason) => stops.push(reason),
    async emit(event: TrainingEvent) {
      emitted.push(event);
      await callback.on(event, training);
    },
  } as unknown as Training;
  return { stops, emitted, tell: (event: TrainingEvent) => training.emit(event) };
}

const stepAt = (step: number, changes: Partial<StepEvent> = {}): StepEvent => ({
  type: "step",
  step,
  loss: 2,
  gradNorm: 1,
  learningRate: 0.1,
  weightDecay: 0.1,
  tokens: 10,
  totalTokens: 10 * step,
  epoch: 0,
  skipped: false,
  skippedSteps: 0,
  elapsedMs: 100,
  dataWaitMs: 1,
  ...changes,
});
const evaluationAt = (step: number, loss: number, best = false): TrainingEvent => ({
  type: "evaluation",
  step,
  loss,
  tokens: 5,
  bitsPerByte: null,
  best,
});

describe("early stopping", () => {
  const losses = async (callback: Callback, values: number[]) => {
    const { stops, tell } = play(callback);
    for (const [i, loss] of values.entries()) await tell(evaluationAt(i, loss));
    return stops.length;
  };

  test("waits for as many evaluations in a row without a better one as it has patience", async () => {
    expect(await losses(earlyStopping(2, 0), [3, 2, 2.5, 1.9, 2, 1.8])).toBe(0);
    expect(await losses(earlyStopping(2, 0), [3, 2, 2.5, 2.4])).toBe(1);
  });

  test("does not count a gain within minDelta, nor a loss that is not a number", async () => {
    expect(await losses(earlyStopping(2, 0.5), [3, 2.8, 2.6])).toBe(1);
    expect(await losses(earlyStopping(2, 0.5), [3, 2.8, 2.4])).toBe(0);
    expect(await losses(earlyStopping(1, 0), [3, Number.NaN])).toBe(1);
  });

  test("remembers through a resume", async () => {
    const first = earlyStopping(2, 0);
    await losses(first, [2, 3]);
    const second = earlyStopping(2, 0);
    second.restore!(JSON.parse(JSON.stringify(first.state!())));
    expect(await losses(second, [2.5])).toBe(1);
  });
});

describe("checkpoints", () => {
  function saving(config: Parameters<typeof checkpoints>[0], steps = 100) {
    const folder = join(temporaryFolder(), "checkpoints");
    const callback = checkpoints(config, folder, async (path) => void mkdirSync(path, { recursive: true }));
    return { folder, callback, ...play(callback, steps), kept: () => (existsSync(folder) ? readdirSync(folder) : []) };
  }

  test("are made every n steps, and at the end once", async () => {
    const { tell, kept, emitted } = saving({ every: 2, keepLast: 9, keepBest: false }, 5);
    for (let step = 1; step <= 5; step++) await tell(stepAt(step));
    await tell({ type: "end", step: 5, reason: "finished" });
    expect(kept()).toEqual(["step_000002", "step_000004", "step_000005"]);
    expect(emitted.filter(({ type }) => type === "checkpoint")).toHaveLength(3);
  });

  test("are kept: the newest few, and the best however old", async () => {
    const { tell, kept, callback } = saving({ every: 1, keepLast: 2, keepBest: true });
    for (let step = 1; step <= 6; step++) {
      if (step === 2) await tell(evaluationAt(2, 1, true));
      await tell(stepAt(step));
    }
    expect(kept()).toEqual(["step_000002", "step_000005", "step_000006"]);
    expect(callback.found()).toMatchObject({
      checkpoint: expect.stringMatching(/step_000006$/),
      bestCheckpoint: expect.stringMatching(/step_000002$/),
    });
  });

  test("are also made where the validation loss is the lowest so far", async () => {
    const { tell, kept } = saving({ every: null, keepLast: 1, keepBest: true });
    await tell(evaluationAt(0, 9, true));
    for (const step of [1, 2, 3]) {
      if (step === 2) await tell(evaluationAt(2, 1, true));
      await tell(stepAt(step));
    }
    expect(kept()).toEqual(["step_000002"]);
  });

  test("of later steps, from a run that went further before, are left alone", async () => {
    const { folder, tell, kept } = saving({ every: 1, keepLast: 1, keepBest: false });
    mkdirSync(join(folder, "step_000050"), { recursive: true });
    await tell(stepAt(1));
    await tell(stepAt(2));
    expect(kept()).toEqual(["step_000002", "step_000050"]);
  });

  test("are made again at the end only if something happened since", async () => {
    const { tell, emitted } = saving({ every: 2, keepLast: 1, keepBest: false });
    await tell(stepAt(2));
    await tell({ type: "end", step: 2, reason: "interrupted" });
    expect(emitted.filter(({ type }) => type === "checkpoint")).toHaveLength(1);
    await tell(evaluationAt(2, 1));
    await tell({ type: "end", step: 2, reason: "finished" });
    expect(emitted.filter(({ type }) => type === "checkpoint")).toHaveLength(2);
  });
});

describe("metrics", () => {
  test("smoothed perplexity is the corrected running mean, and passes over skipped steps", async () => {
    const lines: Record<string, unknown>[] = [];
    const callbacks: Callback[] = [
      metrics({ every: 1, layersEvery: null, smoothing: 0.5 }, () => 1),
      {
        name: "listener",
        on(event) {
          if (event.type === "scalars") lines.push(event.line);
        },
      },
    ];
    const run = smallRun({ steps: 3, callbacks });
    breakGradients(run, { steps: [2], value: Number.NaN });
    await runTraining(run);
    const [a, , c] = run.losses;
    expect(lines.map(({ ppl_smoothed }) => ppl_smoothed)).toEqual([
      expect.closeTo(Math.exp(a), 9),
      expect.closeTo(Math.exp(a), 9),
      expect.closeTo(Math.exp((a * 0.25 + c * 0.5) / 0.75), 9),
    ]);
    expect(lines.map(({ skipped_steps }) => skipped_steps)).toEqual([0, 1, 1]);
    // 32 targets in a step that looks at the clock three times, which moves by 10 ms between two looks.
    expect(lines[0]).toMatchObject({ tokens_per_sec: 1600, elapsed_ms: 20, data_wait_ms: 10, total_tokens: 32 });
  });

  test("flipped weights are counted since the line before, against a comparison of the codes themselves", async () => {
    const flips: number[] = [];
    const expected: number[] = [];
    const codesNow = async ({ runtime, model }: Training) => {
      const all: number[] = [];
      for (const layer of model.ternaryLayers) all.push(...(await runtime.read(layer.quantized(runtime).codes)));
      return all;
    };
    let before: number[] = [];
    const listener: Callback = {
      name: "listener",
      async on(event, training) {
        if (event.type === "start") before = await codesNow(training);
        if (event.type === "scalars" && "layers" in event.line) {
          flips.push(event.line.weights_flipped as number);
          const now = await codesNow(training);
          expected.push(now.filter((code, i) => code !== before[i]).length);
          before = now;
        }
      },
    };
    const callbacks = [metrics({ every: 1, layersEvery: 2, smoothing: 0.9 }, () => 1), listener];
    const run = smallRun({ steps: 6, callbacks });
    await runTraining(run);
    expect(flips).toHaveLength(3);
    expect(flips).toEqual(expected);
    expect(flips[0]).toBeGreaterThan(0);
    run.optimizer.dispose();
    run.model.dispose();
    expect(run.runtime.backend.stats.liveBytes).toBe(0);
  });

  test("a full-precision model has no layers to describe", async () => {
    const lines: Record<string, unknown>[] = [];
    const listener: Callback = {
      name: "listener",
      on(event) {
        if (event.type === "scalars") lines.push(event.line);
      },
    };
    const callbacks = [metrics({ every: 1, layersEvery: 1, smoothing: 0.9 }, () => 1), listener];
    await runTraining(smallRun({ steps: 1, callbacks, modelConfig: { variant: "full" } }));
    expect(lines[0].ternary_share).toBe(0);
    expect(lines[0]).not.toHaveProperty("layers");
  });
});

test("the summary's loss by epoch is the mean over its targets, skipped steps left out", async () => {
  const callback = summary();
  const { tell } = play(callback);
  await tell(stepAt(1, { loss: 4, tokens: 30 }));
  await tell(stepAt(2, { loss: 2, tokens: 10 }));
  await tell(stepAt(3, { loss: Number.NaN, skipped: true }));
  await tell(stepAt(4, { loss: 1, tokens: 10, epoch: 1 }));
  const { epochs, elapsedMs, tokens } = callback.summary();
  expect(epochs).toEqual([
    { epoch: 0, loss: 3.5, tokens: 40 },
    { epoch: 1, loss: 1, tokens: 10 },
  ]);
  expect([elapsedMs, tokens]).toEqual([400, 60]);
});

test("TensorBoard gets the numbers of a line under their names, in a file of its own", async () => {
  expect(flatten({ step: 3, loss: 1, layers: { "a.b": { zero: 0.5 } }, note: "x", none: null })).toEqual({
    "train/loss": 1,
    "layers/a.b/zero": 0.5,
  });
  expect(flatten({ step: 3, losses: { "next-token": 1 }, weights_flipped: 2 })).toEqual({
    "train/losses/next-token": 1,
    "train/weights_flipped": 2,
  });
  expect(flatten({ step: 3, val_loss: 1, val_ppl: 2, bits_per_byte: null, total_tokens: 5 })).toEqual({
    "val/loss": 1,
    "val/ppl": 2,
    "val/total_tokens": 5,
  });
  const folder = temporaryFolder();
  const callback = tensorboard(folder, steppingClock(), { host: "host", pid: 7 });
  const { tell } = play(callback);
  await tell({ type: "start", step: 0, steps: 1 });
  await tell({ type: "scalars", line: { step: 1, loss: 2 } });
  callback.close!();
  const [name] = readdirSync(folder);
  expect(name).toBe("events.out.tfevents.1700000000.host.7");
  const bytes = readFileSync(join(folder, name), "latin1");
  expect(bytes).toContain("brain.Event:2");
  expect(bytes).toContain("train/loss");
});
