// Oracle: the controller in NumPy, through fixtures/flip-rate.json; codes compared by hand, for what is logged; the weights
// themselves, for what is frozen.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { smallRun } from "../../../test/support/small-run.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { restoreCallbackTensors, saveCheckpoint, verifyCheckpoint } from "../../checkpoint/index.ts";
import { createCallbacks } from "../callbacks.ts";
import type { Callback, ScalarLine, Training } from "../events.ts";
import { runTraining } from "../trainer.ts";
import { type FlipControlOptions, flipControl } from "./flip-rate.ts";
import { freezingThreshold } from "./freeze-oscillations.ts";
import { metrics } from "./metrics.ts";

interface Fixture {
  steps: number;
  shares: number[];
  cases: Record<string, { options: FlipControlOptions; expect: [number, number, number | null][] }>;
}
const fixture: Fixture = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/flip-rate.json"), "utf8"));

test.for(Object.entries(fixture.cases))("flip-rate control follows NumPy: %s", ([, { options, expect: wanted }]) => {
  let control = flipControl(options);
  for (const [i, share] of fixture.shares.entries()) {
    // Saved and taken back in the middle.
    if (i === 30) {
      const saved = JSON.parse(JSON.stringify(control.state()));
      control = flipControl(options);
      control.restore(saved);
    }
    const { mean, scale, target } = control.step(share, i + 1, fixture.steps);
    const [wantedMean, wantedScale, wantedTarget] = wanted[i];
    expect(mean).toBeCloseTo(wantedMean, 12);
    expect(scale).toBeCloseTo(wantedScale, 12);
    if (wantedTarget === null) expect(target).toBeNull();
    else expect(target).toBeCloseTo(wantedTarget, 12);
  }
});

test("the threshold falls on a cosine from the start to the end, and is infinite before", () => {
  const at = (step: number) => freezingThreshold({ from: 0.1, to: 0.02, start: 0.5 }, step, 100);
  expect(at(49)).toBe(Number.POSITIVE_INFINITY);
  expect(at(50)).toBeCloseTo(0.1, 12);
  expect(at(75)).toBeCloseTo(0.06, 12);
  expect(at(100)).toBeCloseTo(0.02, 12);
  expect(at(110)).toBeCloseTo(0.02, 12);
});

const codesOf = ({ runtime, model }: Pick<Training, "runtime" | "model">) =>
  Promise.all(model.ternaryLayers.map((layer) => runtime.read(layer.quantized(runtime).codes)));

test("the share of codes that an update changed stands in the line of its step, and of each layer that the line describes", async () => {
  const lines: ScalarLine[] = [];
  const counted: number[] = [];
  let before: Awaited<ReturnType<typeof codesOf>> = [];
  const counter: Callback = {
    name: "counter",
    async on(event, training) {
      if (event.type === "scalars") lines.push(event.line);
      if (event.type === "gradients") before = await codesOf(training);
      if (event.type !== "step") return;
      const now = await codesOf(training);
      const changed = now.reduce((sum, codes, i) => sum + codes.filter((code, k) => code !== before[i][k]).length, 0);
      counted.push(changed / now.reduce((sum, { length }) => sum + length, 0));
    },
  };
  const [control] = createCallbacks([
    { name: "flip-rate", start: 0.5, target: 0.5, eta: 1, momentum: 0, maxScale: 9 },
  ] as never);
  expect(control.beforeMetrics).toBe(true);
  const run = smallRun({
    steps: 6,
    callbacks: [control, metrics({ every: 2, layersEvery: 2, smoothing: 0.9 }, () => 1), counter],
  });
  await runTraining(run);
  expect(lines.map(({ flip_rate }) => flip_rate)).toEqual([counted[1], counted[3], counted[5]]);
  expect(counted.some((share) => share > 0)).toBe(true);
  expect(lines.map(({ flip_rate_target }) => flip_rate_target)).toEqual([undefined, expect.closeTo(0.375), 0]);
  const layers = lines[0].layers as Record<string, { flip_rate: number }>;
  const sizes = Object.fromEntries(run.model.ternaryLayers.map(({ weight }) => [weight.name, weight.size]));
  let total = 0;
  let flipped = 0;
  for (const [name, { flip_rate }] of Object.entries(layers)) {
    total += sizes[`${name}.weight`];
    flipped += flip_rate * sizes[`${name}.weight`];
  }
  expect(flipped / total).toBeCloseTo(counted[1], 12);
});

test("a frozen weight is its code times the scale from then on, whatever the optimizer does", async () => {
  const [freezing] = createCallbacks([
    { name: "freeze-oscillations", from: 0.3, to: 0.1, start: 0, momentum: 0.2 },
  ] as never);
  const shares: number[] = [];
  const frozen = new Map<string, number>();
  const watcher: Callback = {
    name: "watcher",
    async on(event, training) {
      if (event.type !== "step") return;
      shares.push(training.takeLogged().values.frozen_share);
      const { runtime, model } = training;
      const flags = freezing.tensors!(training).filter(({ name }) => name.startsWith("flags."));
      for (const [i, { weight }] of model.ternaryLayers.entries()) {
        const [bits, values] = [await runtime.read(flags[i].tensor), await runtime.readFloats(weight.tensor)];
        const held = new Set<number>();
        for (const [k, flag] of bits.entries()) {
          if (((flag >> 4) & 1) === 0) continue;
          const code = (flag >> 5) & 3;
          const name = `${weight.name} ${k}`;
          expect(frozen.get(name) ?? code, name).toBe(code);
          frozen.set(name, code);
          expect(Math.sign(values[k]) || 0, name).toBe(code - 1 || 0);
          held.add(Math.abs(values[k]));
        }
        // Zero, and one scale for all that are ±1.
        expect([...held].filter((value) => value > 0).length).toBeLessThanOrEqual(1);
      }
    },
  };
  const run = smallRun({ steps: 20, callbacks: [freezing, watcher] });
  await runTraining(run);
  expect(shares.at(-1)).toBeGreaterThan(0);
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  const total = run.model.ternaryLayers.reduce((sum, { weight }) => sum + weight.size, 0);
  expect(frozen.size / total).toBeCloseTo(shares.at(-1)!, 12);
});

test("layers that the run has frozen are neither counted nor touched", async () => {
  const run = smallRun({
    steps: 6,
    callbacks: createCallbacks([
      { name: "flip-rate", start: 0, target: "measured", eta: 1, momentum: 0.9, maxScale: 2 },
      { name: "freeze-oscillations", from: 0, to: 0, start: 0, momentum: 0.5 },
    ] as never),
  });
  for (const { weight } of run.model.ternaryLayers.slice(1)) weight.setFrozen(true);
  run.optimizer.parametersChanged!();
  const before = await Promise.all(run.model.ternaryLayers.map(({ weight }) => run.runtime.readFloats(weight.tensor)));
  await runTraining(run);
  const after = await Promise.all(run.model.ternaryLayers.map(({ weight }) => run.runtime.readFloats(weight.tensor)));
  expect(after[0]).not.toEqual(before[0]);
  expect(after.slice(1)).toEqual(before.slice(1));
});

test("a checkpoint has the tensors of callbacks in a file of their own, and is refused where they are missing or others", async () => {
  const { runtime, model, optimizer } = smallRun();
  const [freezing] = createCallbacks([
    { name: "freeze-oscillations", from: 0.3, to: 0.1, start: 0, momentum: 0.2 },
  ] as never);
  const callbackTensors = freezing.tensors!({ runtime, model });
  const path = (name: string) => join(temporaryFolder(), name);
  const [plain, full] = [path("plain"), path("full")];
  const parts = { model, optimizer, tokenizer: null, step: 1, training: null };
  await saveCheckpoint(plain, parts);
  expect(Object.keys(verifyCheckpoint(plain).sha256)).not.toContain("callbacks.safetensors");
  await expect(restoreCallbackTensors(plain, callbackTensors, runtime)).rejects.toThrow(
    /has no callbacks.safetensors, which the callbacks of this run kept state in/,
  );
  await saveCheckpoint(full, { ...parts, callbackTensors });
  expect(Object.keys(verifyCheckpoint(full).sha256)).toContain("callbacks.safetensors");
  await restoreCallbackTensors(full, callbackTensors, runtime);
  await restoreCallbackTensors(full, callbackTensors.slice(1), runtime);
  const renamed = callbackTensors.map(({ name, tensor }) => ({ name: `other.${name}`, tensor }));
  await expect(restoreCallbackTensors(full, renamed, runtime)).rejects.toThrow(
    /has no tensor other.flags\.model.*, which this run's callbacks has/,
  );
  // Written anew over what is there.
  await saveCheckpoint(full, parts);
  expect(Object.keys(verifyCheckpoint(full).sha256)).not.toContain("callbacks.safetensors");
});
