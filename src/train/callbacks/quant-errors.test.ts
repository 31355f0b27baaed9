// Oracle: the definitions, in float64 loops of their own over weights and codes that a listener reads at the same steps.
import { expect, test } from "vitest";
import { smallRun } from "../../../test/support/small-run.ts";
import type { Callback, Training } from "../events.ts";
import { runTraining } from "../trainer.ts";
import { metrics } from "./metrics.ts";

interface Seen {
  w: Float32Array;
  t: number[];
  s: number;
}

async function seenBy({ runtime, model }: Training): Promise<Seen[]> {
  const seen: Seen[] = [];
  for (const layer of model.ternaryLayers) {
    const { codes, scale } = layer.quantized(runtime);
    const [w, s] = [await runtime.readFloats(layer.weight.tensor), await runtime.readFloats(scale)];
    seen.push({ w, t: Array.from(await runtime.read(codes), (code) => code - 1), s: s[0] });
  }
  return seen;
}

/** Lines with errors, and the layers at the start and at each of them. */
async function trained(settings: { layersEvery?: number; errorEvery: number | null; drift?: boolean }, variant = {}) {
  const lines: Record<string, unknown>[] = [];
  const seen: Seen[][] = [];
  const listener: Callback = {
    name: "listener",
    async on(event, training) {
      if (event.type === "start") seen.push(await seenBy(training));
      if (event.type !== "scalars" || !("layers" in event.line || "errors_since_step" in event.line)) return;
      lines.push(event.line);
      seen.push(await seenBy(training));
    },
  };
  const { layersEvery = null, ...rest } = settings;
  const run = smallRun({
    steps: 6,
    callbacks: [metrics({ every: 4, layersEvery, ...rest, smoothing: 0.9 }, () => 1), listener],
    modelConfig: variant,
  });
  await runTraining(run);
  const { losses } = run;
  run.optimizer.dispose();
  run.model.dispose();
  expect(run.runtime.backend.stats.liveBytes).toBe(0);
  return { lines, seen, losses };
}

const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));

test("lines every errorEvery steps have the error, flips, oscillation and drift of each layer since the last", async () => {
  const { lines, seen } = await trained({ errorEvery: 2, drift: true });
  expect(lines.map(({ step, errors_since_step }) => [step, errors_since_step])).toEqual([
    [2, 0],
    [4, 2],
    [6, 4],
  ]);
  let flips = 0;
  let oscillations = 0;
  for (const [k, line] of lines.entries()) {
    const layers = Object.values(line.layers as Record<string, Record<string, number>>);
    expect(layers).toHaveLength(14);
    for (const [i, found] of layers.entries()) {
      const { w, t, s } = seen[k + 1][i];
      const last = seen[k][i];
      const error = norm(w.map((x, j) => x - s * t[j]));
      const share = (is: (j: number) => boolean) => t.filter((_, j) => is(j)).length / t.length;
      expect(found.mse).toBeCloseTo(error ** 2 / w.length, 8);
      expect(found.sqnr_db).toBeCloseTo(20 * Math.log10(norm(w) / error), 4);
      expect(found.normalized_error).toBeCloseTo(error / norm(w), 5);
      expect(found.zero).toBeCloseTo(
        share((j) => t[j] === 0),
        5,
      );
      expect(found.flip_share).toBeCloseTo(
        share((j) => t[j] !== last.t[j]),
        5,
      );
      expect(found.scale_drift).toBeCloseTo(s / last.s - 1, 5);
      expect(found.weight_drift).toBeCloseTo(norm(w.map((x, j) => x - last.w[j])) / norm(last.w), 5);
      if (k === 0) expect(found.oscillation_share).toBeNull();
      else {
        const earlier = seen[k - 1][i];
        const back = share((j) => (t[j] - last.t[j]) * (last.t[j] - earlier.t[j]) < 0);
        expect(found.oscillation_share).toBeCloseTo(back, 5);
        oscillations += back;
      }
      flips += found.flip_share;
    }
  }
  expect(flips).toBeGreaterThan(0);
  expect(oscillations).toBeGreaterThan(0);
});

test("measuring changes no loss, and what layersEvery writes beside it stays as it was", async () => {
  const without = await trained({ layersEvery: 3, errorEvery: null });
  const both = await trained({ layersEvery: 3, errorEvery: 3, drift: true });
  expect(both.losses).toEqual(without.losses);
  for (const [i, line] of without.lines.entries()) expect(both.lines[i]).toMatchObject({ layers: line.layers });
  const [layer] = Object.values(both.lines[0].layers as Record<string, object>);
  expect(layer).toHaveProperty("gamma");
  expect(layer).toHaveProperty("sqnr_db");
  expect(Object.keys(layer)).not.toContain("errors_since_step");
});

test("without drift no copy of the weights is kept; a full-precision model has no errors", async () => {
  const { lines } = await trained({ errorEvery: 3 });
  for (const layer of Object.values(lines[0].layers as Record<string, object>))
    expect(layer).not.toHaveProperty("weight_drift");
  expect((await trained({ errorEvery: 3 }, { variant: "full" })).lines).toEqual([]);
});
