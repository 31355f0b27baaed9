// Oracle: the definition of a permutation; for uniform numbers, the chi-square quantile of a uniform draw.
import { describe, expect, test } from "vitest";
import { createPermutation, uniformAt } from "./permutation.ts";

test("a permutation takes each of its numbers once, whatever their count", () => {
  for (const n of [1, 2, 3, 5, 17, 64, 65, 1000]) {
    const at = createPermutation(n, 11, n);
    const all = Array.from({ length: n }, (_, place) => at(place)).sort((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: n }, (_, i) => i));
  }
});

describe("uniformAt", () => {
  test("is spread evenly over seeds and places alike", () => {
    for (const value of [
      (i: number) => uniformAt(5, i),
      (i: number) => uniformAt(i, 5),
      (i: number) => uniformAt(2 ** 40 + i, 2 ** 36),
    ]) {
      const cells = new Float64Array(100);
      for (let i = 0; i < 20_000; i++) cells[Math.floor(100 * value(i))]++;
      const chiSquare = cells.reduce((sum, found) => sum + (found - 200) ** 2 / 200, 0);
      // 99 degrees of freedom: below 148.2 with a chance of 0.999, above 61.1 too.
      expect(chiSquare).toBeLessThan(148.2);
      expect(chiSquare).toBeGreaterThan(61.1);
    }
  });

  test("differs between neighbours, and uses the whole of its place and seed", () => {
    const found = new Set<number>();
    for (const seed of [0, 1, 2 ** 32, 2 ** 47])
      for (const n of [0, 1, 2 ** 32, 2 ** 50]) found.add(uniformAt(seed, n));
    expect(found.size).toBe(16);
  });
});
