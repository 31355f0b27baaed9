// Oracle: the schedules' own values at the steps, whose formulas are tested beside them.
import { expect, test } from "vitest";
import { deriveRun, resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { runCurves } from "./run-curves.ts";

const config = (train: RunConfigPatch["train"], more: RunConfigPatch = {}) =>
  resolveConfig([{ from: "x", patch: { preset: "tiny", train: { steps: 100, ...train }, ...more } }]);

test("curves are the schedules' values from the first step to the last", () => {
  const run = config({ progressive: { kind: "annealed", mixed: "50%" } });
  const { steps, curves, totalSteps, assumed } = runCurves(run, 34);
  expect([steps.length, steps[0], steps.at(-1), totalSteps, assumed]).toEqual([34, 1, 100, 100, false]);
  expect(curves.map(({ name }) => name)).toEqual(["learning rate", "weight decay", "lambda", "quant_temperature"]);
  const { schedule, quantization } = deriveRun(run, 1);
  expect(curves[0].values).toEqual(steps.map((step) => schedule(step).learningRate));
  expect(curves[2].values).toEqual(steps.map((step) => quantization!.at(step).of("x").lambda));
  expect(curves[3].values.at(-1)).toBe(0);
});

test("a short run is drawn step by step, one without progressive quantization without lambda", () => {
  const { steps, curves } = runCurves(config({ steps: 3 }), 72);
  expect([steps, curves.length]).toEqual([[1, 2, 3], 2]);
});

test("layers that differ are grouped: by blocks, or by their names", () => {
  const names = (order: string | string[]) =>
    runCurves(config({ progressive: { kind: "layerwise", order, end: "60%" } as never }), 40)
      .curves.map(({ name }) => name)
      .filter((name) => name.startsWith("lambda"));
  expect(names("front-to-back")).toEqual([0, 1, 2, 3, 4, 5].map((i) => `lambda of layers.${i}`));
  expect(names(["layers.0.*", "*"])).toEqual(["lambda of layers.0", "lambda of layers.1-5"]);
  expect(names(["layers.0.self_attn.q_proj", "*"])).toEqual([
    "lambda of layers.0.self_attn.q_proj",
    "lambda of layers.0.self_attn.k_proj and 40 more",
  ]);
});

test("of epochs, whose steps depend on the data, a thousand are assumed; of no steps nothing can be drawn", () => {
  expect(runCurves(config({ steps: null, epochs: 3 }), 72)).toMatchObject({ totalSteps: 1000, assumed: true });
  expect(() => runCurves(config({ steps: 0 }), 72)).toThrow(/train.steps is 0/);
});
