// Oracle: a run's folder written here line by line; sums and means by hand.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { FormatError, UsageError } from "../platform/errors.ts";
import { measureTraining, thin } from "./training.ts";

const meta = {
  format: "bitnet.ts run",
  version: 1,
  preset: "tiny",
  createdMs: 1,
  parameters: { total: 10, ternary: 8 },
  derived: { steps: 6, tokensPerStep: 100, stepsPerEpoch: 2, warmupSteps: 0, microBatch: 1 },
  tokenizer: { name: "t", vocabSize: 5, hash: "h" },
  data: { identity: "d", tokens: 200, documents: 2, validationTokens: 0, validation: "none" },
  sessions: [],
};

const stepLine = (step: number, loss: number | null) => ({
  ...{ step, epoch: Math.floor((step - 1) / 2), loss, elapsed_ms: 10 * step, total_tokens: 100 * step },
  ...{ tokens_per_sec: 1000 * step, memory_rss_bytes: 5000 - step, skipped_steps: loss === null ? 1 : 0 },
});

function runFolder(lines: readonly object[], about: object = meta): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "metrics"));
  writeFileSync(join(folder, "config.yaml"), "preset: tiny\nmodel:\n  variant: full\n");
  writeFileSync(join(folder, "meta.json"), JSON.stringify(about));
  writeFileSync(join(folder, "metrics", "scalars.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return folder;
}

test("curves, epochs, speed and memory are those of the metrics' lines", () => {
  const lines = [1, 2, 3, 4, 5, 6].map((step) => stepLine(step, 10 - step));
  const folder = runFolder([{ step: 0, val_loss: 9, bits_per_byte: 3, total_tokens: 0 }, ...lines]);
  const run = measureTraining(folder);
  expect(run).toMatchObject({ finished: true, steps: 6, totalTokens: 600, elapsedMs: 210, peakMemoryBytes: 4999 });
  expect(run.epochs).toEqual([
    { epoch: 1, lossNats: 8.5, elapsedMs: 30 },
    { epoch: 2, lossNats: 6.5, elapsedMs: 70 },
    { epoch: 3, lossNats: 4.5, elapsedMs: 110 },
  ]);
  expect(run.tokensPerSecond).toBe(3500);
  // Sample deviation of 1000 ... 6000.
  expect(run.tokensPerSecondDeviation).toBeCloseTo(1870.8287, 3);
  expect(run.validation).toEqual([{ step: 0, tokens: 0, lossNats: 9, bitsPerByte: 3 }]);
  expect(run.config).toEqual({ preset: "tiny", model: { variant: "full" } });
});

test("schedules are those that were logged; a number that a run has not is null", () => {
  const scheduled = (step: number) => ({
    ...stepLine(step, 5),
    ...{ learning_rate: step / 1000, weight_decay: 0.1 },
    ...(step > 1 ? { quant_lambda: step / 4 } : {}),
    ...(step > 2 ? { quant_temperature: 0.5 } : {}),
  });
  const rest = { learningRate: 0.001, weightDecay: 0.1, quantLambda: null, quantTemperature: null };
  const of = (...steps: number[]) => measureTraining(runFolder(steps.map(scheduled))).schedule;
  expect(of(1, 2, 3)).toEqual([
    { step: 1, tokens: 100, ...rest },
    { step: 2, tokens: 200, ...rest, learningRate: 0.002, quantLambda: 0.5 },
    { step: 3, tokens: 300, ...rest, learningRate: 0.003, quantLambda: 0.75, quantTemperature: 0.5 },
  ]);
  // Lines of before, or of another program.
  expect(measureTraining(runFolder([stepLine(1, 5)])).schedule).toEqual([]);
  const many = of(...Array.from({ length: 1000 }, (_, i) => i + 1))!;
  expect([many.length, many[0].step, many.at(-1)!.step]).toEqual([300, 1, 1000]);
});

test("a run that was cut short is measured as far as it went: half an epoch is none, half a line is passed over", () => {
  const folder = runFolder([stepLine(1, 5), stepLine(2, 4), stepLine(3, 3)]);
  const path = join(folder, "metrics", "scalars.jsonl");
  writeFileSync(path, '{"step": 4, "loss": 2', { flag: "a" });
  const run = measureTraining(folder);
  expect(run).toMatchObject({ finished: false, steps: 3, plannedSteps: 6 });
  expect(run.epochs.map(({ epoch }) => epoch)).toEqual([1]);
});

test("a skipped step has no loss, but its time counts", () => {
  const run = measureTraining(runFolder([stepLine(1, 5), stepLine(2, null)]));
  expect(run.training).toHaveLength(1);
  expect(run).toMatchObject({ elapsedMs: 30, skippedSteps: 1 });
});

test("a run without metrics yet has empty curves; a folder that is no run, or one without meta.json, is refused", () => {
  expect(measureTraining(runFolder([]))).toMatchObject({ steps: 0, finished: false, tokensPerSecond: null });
  expect(() => measureTraining(temporaryFolder())).toThrow(UsageError);
  const { derived: _, ...rest } = meta;
  expect(() => measureTraining(runFolder([], rest))).toThrow(FormatError);
});

test("a long curve is thinned to means, with its last point at its end", () => {
  const points = Array.from({ length: 1000 }, (_, i) => ({ step: i + 1, tokens: 10 * (i + 1), lossNats: i }));
  const thinned = thin(points, 100);
  expect(thinned).toHaveLength(100);
  expect(thinned[0]).toEqual({ step: 10, tokens: 100, lossNats: 4.5 });
  expect(thinned.at(-1)).toMatchObject({ step: 1000 });
});

test("lines that are no JSON are counted and left out; a loss of null is a step without one", () => {
  const folder = runFolder([stepLine(1, 9), stepLine(2, null), stepLine(3, 7)]);
  const path = join(folder, "metrics", "scalars.jsonl");
  const lines = readFileSync(path, "utf8");
  writeFileSync(path, `${lines}garbage\n\n{"step": 4, "loss": NaN}\n{"step": 5, "lo`);
  const run = measureTraining(folder);
  expect(run).toMatchObject({ damagedLines: 3, steps: 3, skippedSteps: 0 });
  expect(run.training.map(({ step }) => step)).toEqual([1, 3]);
});
