// Oracle: bench/results/. The page and its picture are made from them, so no number in them was typed in. The thresholds'
// arithmetic is held to results written by hand.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { floorOf, workOf } from "../../bench/launches.ts";
import { performancePage, stepPicture } from "../../scripts/performance.ts";
import { readResults, type StepsRow } from "../../scripts/performance-results.ts";
import { geometricMean, speedRatio, targets } from "../../scripts/performance-targets.ts";

const root = resolve(import.meta.dirname, "../..");
const results = readResults(resolve(root, "bench/results"));
const nothing = readResults(resolve(root, "bench"));

test("docs/performance.md is what the results in bench/results/ make", () => {
  expect(readFileSync(resolve(root, "docs/performance.md"), "utf8")).toBe(performancePage(results));
});

test("the picture of a step is what its breakdown makes", () => {
  const path = resolve(root, "docs/curves/step-breakdown.svg");
  expect(existsSync(path) ? readFileSync(path, "utf8") : null).toBe(stepPicture(results));
});

test("what was not measured is called that, and never reached", () => {
  for (const target of targets(nothing)) expect(target).toMatchObject({ is: null, reached: null });
  expect(performancePage(nothing)).toContain("Not measured yet: `npm run bench -- kernels`");
});

describe("ratios", () => {
  const row = (key: string, speeds: number[]): StepsRow => ({
    ...{ key, name: key, speeds, peakRssMiB: 1000 },
    medianTokensPerSecond: speeds[0],
    bestTokensPerSecond: speeds[0],
  });
  const provenance = {
    date: "",
    commit: "",
    command: "",
    machine: { cpu: "", cores: 2, memoryGiB: 1, system: "", node: "" },
  };
  const steps = {
    ...provenance,
    ...{ isa: "avx512", threads: 2, micro: 8, currentTorch: null, variants: [], leftOut: [] },
    groups: [
      {
        ...{
          key: "tiny",
          preset: "tiny",
          batch: 32,
          sequence: 256,
          threads: 2,
          date: "2026-01-31T12:00:00Z",
          commit: "abc1234",
        },
        // The machine halves its speed in the second round: ratios of one round do not mind.
        rows: [row("ours", [400, 200, 410]), row("old-bitnet", [100, 50, 100]), row("ours-full", [500, 250, 500])],
      },
    ],
  };

  test("are of one round, and the median is taken of them", () => {
    expect(speedRatio(steps, "tiny", "ours", "old-bitnet")).toBe(4);
    expect(speedRatio(steps, "tiny", "ours", "current")).toBeNull();
  });
  test("reach their threshold or do not", () => {
    const of = (name: RegExp) => targets({ ...nothing, steps }).find((t) => name.test(t.name));
    expect(of(/1.13 float32 BitNet$/)).toMatchObject({ is: "4.00", reached: true });
    expect(of(/our own/)).toMatchObject({ is: "0.80", reached: false });
    expect(of(/peak memory/)).toMatchObject({ is: "1.05 GB", reached: false });
  });
  test("stand beside their rows in the page", () => {
    expect(performancePage({ ...nothing, steps })).toContain("| old-bitnet | 100 | 100 | 81920 | 1000 | 4.00 |");
  });
  test("of products have a geometric mean", () => {
    expect(geometricMean([1, 4])).toBeCloseTo(2, 12);
    expect(geometricMean([0.5, 2, 1])).toBeCloseTo(1, 12);
  });
});

describe("floors", () => {
  const peaks = { threads: 2, float32: 200, bfloat16: 400, int8: 800, readGBs: 30 };
  const buffer = { sizeBytes: 0 };
  const array = (shape: number[], dtype: "f32" | "i8") => ({ shape, dtype, buffer });

  test("count a product's operations at its unit's rate", () => {
    const params = { m: 1000, n: 400, k: 500, bf16: 1, accumulate: 0 };
    const work = workOf({ name: "matmul_backward_input" }, { dy: array([1000, 400], "f32") }, params);
    expect(work).toEqual({ unit: "bfloat16", operations: 4e8, bytes: 1.6e6 });
    expect(floorOf(work, peaks)).toEqual({ ms: 1, limit: "bfloat16" });
  });
  test("count bytes where memory is the limit, twice where an array is read and written", () => {
    const arrays = { weight: array([1000], "f32"), gradient: array([1000], "f32"), m: array([1000], "f32"), v: null };
    const work = workOf({ name: "adamw_step" }, arrays, { n: 1000 });
    expect(work).toEqual({ unit: null, operations: 0, bytes: 20000 });
    expect(floorOf(work, peaks).limit).toBe("memory");
  });
  test("count the pairs that causality leaves", () => {
    const params = { batch: 2, tokens: 3, keys: 3, heads: 4, kvHeads: 2, headWidth: 8, start: 0 };
    // 2 · 4 heads, 1 + 2 + 3 pairs, two products of 2 · 8 operations.
    expect(workOf({ name: "attention_forward" }, {}, params).operations).toBe(8 * 6 * 2 * 16);
  });
  test("refuse a product of unknown sizes", () => {
    expect(() => workOf({ name: "matmul_new" }, {}, { rows: 3 })).toThrow(/matmul_new/);
  });
});
