// Oracle: NumPy (fixtures.json, made by fixtures.py). The bound is of a sum in another order: 1e-12 of the value.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Estimate, estimate, halfInterval, paired, verdictOf } from "./statistics.ts";

interface Case {
  a: number[];
  b: number[];
  estimate: Estimate;
  difference: Estimate;
  ratio: Estimate;
}
const { cases } = JSON.parse(readFileSync(new URL("./fixtures.json", import.meta.url), "utf8")) as { cases: Case[] };
const seeded = (values: readonly number[], first = 1) => new Map(values.map((value, i) => [first + i, value]));

function expectSame(found: Estimate | null, wanted: Estimate): void {
  expect(found?.n).toBe(wanted.n);
  expect(Math.abs(found!.mean - wanted.mean)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(wanted.mean)));
  if (wanted.standardError === null) expect(found!.standardError).toBeNull();
  else expect(Math.abs(found!.standardError! - wanted.standardError)).toBeLessThanOrEqual(1e-12);
}

test.for(cases.map((one) => [one.a.length, one] as const))(
  "mean, standard error, paired difference and ratio of %i values are NumPy's",
  ([, one]) => {
    expectSame(estimate(one.a), one.estimate);
    expectSame(
      paired(seeded(one.a), seeded(one.b), (a, b) => a - b),
      one.difference,
    );
    expectSame(
      paired(seeded(one.a), seeded(one.b), (a, b) => a / b - 1),
      one.ratio,
    );
  },
);

test("pairs are of common seeds alone, whatever the order; without any there is no difference", () => {
  const a = new Map([
    [3, 5],
    [1, 2],
  ]);
  const b = new Map([
    [2, 100],
    [1, 1],
    [3, 3],
  ]);
  expect(paired(a, b, (x, y) => x - y)).toEqual({ n: 2, mean: 1.5, standardError: 0.5 });
  expect(paired(a, seeded([7], 9), (x, y) => x - y)).toBeNull();
  expect(estimate([])).toBeNull();
});

test("a verdict wants zero outside the 95 % interval by Student's t, and more than one seed", () => {
  // t of one degree of freedom is 12.706.
  expect(halfInterval({ n: 2, mean: 1, standardError: 0.1 })).toBeCloseTo(1.2706, 10);
  expect(halfInterval({ n: 500, mean: 1, standardError: 0.1 })).toBeCloseTo(0.2042, 10);
  expect(verdictOf({ n: 2, mean: -1, standardError: 0.1 })).toBe("within noise");
  expect(verdictOf({ n: 2, mean: -1, standardError: 0.05 })).toBe("lower");
  expect(verdictOf({ n: 3, mean: 1, standardError: 0.1 })).toBe("higher");
  expect(verdictOf({ n: 1, mean: 9, standardError: null })).toBe("one seed");
});
