// Oracle: differences worked out by hand. That the page holds what bench/results/ has is results.test.ts's.
import { expect, test } from "vitest";
import type { PrecisionCurves } from "../../bench/precision-curves.ts";
import { furthestApart, precisionPart, precisionPicture } from "../../scripts/results-precision.ts";

const curves = (steps: number): PrecisionCurves => ({
  ...{ date: "2026-01-31T12:00:00.000Z", commit: "abc", command: "npx tsx bench/precision.ts" },
  machine: { cpu: "a processor", cores: 2, memoryGiB: 8, system: "linux", node: "v20" },
  ...{ preset: "tiny", batch: 2, sequence: 32, steps, seed: 1, threads: 2, isa: "avx512" },
  series: [1, 1.02, 0.99].map((factor, i) => ({
    ...{ name: `run ${i}`, precision: "fp32", optimizer: "adamw", stateBytes: 2 ** 20 * (i + 1) },
    loss: Array.from({ length: steps }, (_, s) => (s === steps - 1 ? factor : 1) * (8 - s / steps)),
  })),
});

test("two curves are furthest apart where their ratio is, above or below, and a NaN is never near", () => {
  expect(furthestApart([8, 4, 2.2], [8, 4.2, 2.1])).toEqual({ step: 2, difference: 4 / 4.2 - 1 });
  expect(furthestApart([8, 8], [8, 8])).toEqual({ step: 1, difference: 0 });
  expect(furthestApart([8, Number.NaN, 2], [8, 4, 1])).toEqual({ step: 2, difference: Number.NaN });
});

test.for([1, 3, 10, 25, 300])(
  "the part about %i steps says the largest difference, and shows the last step",
  (steps) => {
    const part = precisionPart(curves(steps));
    expect(part).toContain(`run 1: at most +2.00 %, at step ${steps}; run 2: at most -1.00 %, at step ${steps}.`);
    const rows = [...part.matchAll(/^\| (\d+) \|/gm)].map(([, step]) => Number(step));
    expect([rows[0], rows.at(-1), rows.length <= 12]).toEqual([1, steps, true]);
    expect(new Set(rows).size).toBe(rows.length);
    expect(part).toContain("| optimizer's state, MiB | 1.0 | 2.0 | 3.0 |");
  },
);

test("the picture has the curves, and how far they are from the first", () => {
  const svg = precisionPicture(curves(20));
  expect(svg).toMatch(/^<svg/);
  for (const text of ["% from run 0", "run 1", "run 2"]) expect(svg).toContain(text);
});
