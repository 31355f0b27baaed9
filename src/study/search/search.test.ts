// Oracle: Optuna's TPESampler(multivariate=False) over 50 seeds, and its SuccessiveHalvingPruner's decisions (fixtures.json, made by fixtures.py).
import { expect, test } from "vitest";
import { createRandom } from "../../platform/random.ts";
import fixtures from "./fixtures.json" with { type: "json" };
import {
  createHalving,
  firstRung,
  gridPoints,
  parseDimension,
  type SearchPoint,
  type SearchTrial,
  tpePoint,
} from "./index.ts";

function branin(x: number, y: number): number {
  const [b, c, t] = [5.1 / (4 * Math.PI ** 2), 5 / Math.PI, 1 / (8 * Math.PI)];
  return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * Math.cos(x) + 10;
}

const functions: Record<keyof typeof fixtures.tpe, [Record<string, string>, (p: Record<string, number>) => number]> = {
  sphere: [{ x: "float:-5..5", y: "float:-5..5" }, ({ x, y }) => x! ** 2 + y! ** 2],
  branin: [{ x: "float:-5..10", y: "float:0..15" }, ({ x, y }) => branin(x!, y!)],
  rate: [
    { x: "log:1e-5..1e-1", y: "int:1..32" },
    ({ x, y }) => (Math.log10(x!) + 2.5) ** 2 + (0.1 * (y! - 9) ** 2) / 16,
  ],
  choice: [{ y: "choice:1,0,0.5", x: "float:0..1" }, ({ x, y }) => y! + (x! - 0.3) ** 2],
};

function search(name: keyof typeof functions, seed: number): SearchTrial[] {
  const [specs, f] = functions[name];
  const space = Object.fromEntries(Object.entries(specs).map(([key, spec]) => [key, parseDimension(key, spec)]));
  const random = createRandom(seed);
  const trials: SearchTrial[] = [];
  for (let i = 0; i < fixtures.trials; i++) {
    const point = tpePoint(space, trials, random);
    trials.push({ point, value: f(point as Record<string, number>) });
  }
  return trials;
}

test.for(Object.keys(functions) as (keyof typeof functions)[])(
  "the mean best of %s is within the noise of Optuna's univariate TPE, and below random search",
  (name) => {
    const bests = Array.from({ length: 50 }, (_, seed) => Math.min(...search(name, seed).map(({ value }) => value!)));
    const mean = bests.reduce((a, b) => a + b) / bests.length;
    const error = Math.sqrt(bests.reduce((sum, one) => sum + (one - mean) ** 2, 0) / 49 / 50);
    const { mean: theirs, standardError } = fixtures.tpe[name];
    expect(Math.abs(mean - theirs)).toBeLessThan(2.5 * Math.hypot(error, standardError));
    expect(mean).toBeLessThan(fixtures.random[name].mean);
  },
);

test("the same seed gives the same trials, and another seed others", () => {
  expect(search("rate", 3)).toEqual(search("rate", 3));
  expect(search("rate", 4)).not.toEqual(search("rate", 3));
});

test("a diverged trial is the worst, and a trial under way counts among the bad ones", () => {
  const space = { x: parseDimension("x", "float:0..1") };
  const at = (x: number, value: number | null) => ({ point: { x } as SearchPoint, value });
  // Ten that ended: the one good trial is the best tenth.
  const bad = Array.from({ length: 18 }, (_, i) => at(0.9, i % 2 ? Number.NaN : null));
  const trials = [...bad, at(0.1, 5)];
  const random = createRandom(1);
  const points = Array.from({ length: 20 }, () => tpePoint(space, trials, random).x as number);
  expect(points.filter((x) => x < 0.7).length).toBe(20);
});

test("halving decides as Optuna on recorded streams, NaN among them", () => {
  for (const stream of fixtures.halving) {
    const halving = createHalving({ minStep: 3, factor: 2 });
    for (const [trial, step, value, prune] of stream as [number, number, number | null, boolean][])
      expect(halving.prune(trial, step, value ?? Number.NaN), `trial ${trial}, step ${step}`).toBe(prune);
  }
  expect(firstRung(1000)).toBe(300);
});

test("a grid has every combination once", () => {
  const space = { x: parseDimension("x", "log:1e-4..1e-2"), y: parseDimension("y", "choice:a,true") };
  expect(gridPoints(space, 3).map(({ y }) => y)).toEqual(["a", true, "a", true, "a", true]);
  expect(gridPoints({ n: parseDimension("n", "int:1..2") }, 9)).toEqual([{ n: 1 }, { n: 2 }]);
});

test.for([
  ["float:2..1", "is empty"],
  ["log:-1..1", "no logarithm"],
  ["int:0.5..2", "whole numbers"],
  ["float:1", "is no range"],
  ["normal:0..1", "is no range"],
  ["choice:a,a", "twice"],
] as const)("refuses %s", ([spec, words]) => {
  expect(() => parseDimension("key", spec)).toThrow(words);
});
