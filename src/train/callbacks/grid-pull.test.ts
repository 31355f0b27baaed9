// Oracles: the formula (1 - alpha) w + alpha Q(w), in float64; a run without the callback up to the first pull. Bound: three
// float32 operations.
import { expect, test } from "vitest";
import { expectClose } from "../../../test/support/expect-close.ts";
import { smallRun } from "../../../test/support/small-run.ts";
import type { Callback } from "../events.ts";
import { runTraining } from "../trainer.ts";
import { gridPull } from "./grid-pull.ts";

const pull = (every: number, alpha = 0.4) => gridPull.create({ every, alpha });

test("pulls ternary weights by alpha behind every so many steps, and leaves the rest alone", async () => {
  const [plain, pulled] = [smallRun({ steps: 6 }), smallRun({ steps: 6 })];
  const seen: { before: Float32Array; codes: Float32Array; scale: number; after: Float32Array }[] = [];
  const look = (when: "before" | "after"): Callback => ({
    name: when,
    async on(event, { runtime }) {
      if (event.type !== "step" || event.step % 3 !== 0) return;
      const [layer] = pulled.model.ternaryLayers;
      const w = await runtime.readFloats(layer.weight.tensor);
      if (when === "after") {
        seen.at(-1)!.after = w;
        return;
      }
      const { codes, scale } = layer.quantized(runtime);
      const q = Float32Array.from(await runtime.read(codes), (code) => code - 1);
      seen.push({ before: w, codes: q, scale: (await runtime.readFloats(scale))[0], after: w });
    },
  });
  await runTraining(plain);
  await runTraining({ ...pulled, callbacks: [...pulled.callbacks, look("before"), pull(3), look("after")] });
  expect(seen).toHaveLength(2);
  for (const { before, codes, scale, after } of seen)
    expectClose(
      after,
      Float64Array.from(before, (w, i) => 0.6 * w + 0.4 * scale * codes[i]),
      { abs: 1e-7 },
    );
  expect(pulled.losses.slice(0, 3)).toEqual(plain.losses.slice(0, 3));
  expect(pulled.losses[3]).not.toBe(plain.losses[3]);
});

test("alpha 1 puts weights on their grid; frozen layers stay", async () => {
  const run = smallRun({ steps: 2 });
  const [frozen, free] = run.model.ternaryLayers;
  frozen.weight.setFrozen(true);
  run.optimizer.parametersChanged?.();
  const before = await run.runtime.readFloats(frozen.weight.tensor);
  await runTraining({ ...run, callbacks: [pull(2, 1)] });
  expect(await run.runtime.readFloats(frozen.weight.tensor)).toEqual(before);
  expect(new Set(await run.runtime.readFloats(free.weight.tensor)).size).toBeLessThanOrEqual(3);
});

test("refuses a model without ternary weights, and a run too short for one pull", async () => {
  const full = smallRun({ modelConfig: { variant: "full" }, callbacks: [pull(3)] });
  await expect(runTraining(full)).rejects.toThrow(/grid-pull is of ternary weights, and this model has none/);
  await expect(runTraining(smallRun({ steps: 2, callbacks: [pull(3)] }))).rejects.toThrow(/would never pull/);
});
