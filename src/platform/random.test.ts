// Oracle: moments of the distributions, and sameness.
import { expect, test } from "vitest";
import { createRandom } from "./random.ts";

const moments = (values: ArrayLike<number>) => {
  let [sum, squares, fourth] = [0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    sum += values[i];
    squares += values[i] ** 2;
    fourth += values[i] ** 4;
  }
  const n = values.length;
  return { mean: sum / n, variance: squares / n, kurtosis: fourth / n / (squares / n) ** 2 };
};

test("a seed names one sequence, and a saved state continues it", () => {
  const a = createRandom(7);
  const b = createRandom(7);
  expect(Array.from({ length: 5 }, a.uniform)).toEqual(Array.from({ length: 5 }, b.uniform));
  const c = createRandom(a.state());
  expect(c.uniform()).toBe(a.uniform());
  expect(createRandom(8).uniform()).not.toBe(createRandom(7).uniform());
  expect(createRandom(2 ** 40 + 7).uniform()).not.toBe(createRandom(7).uniform());
});

test("integers are even over a limit that does not divide 2^32", () => {
  const random = createRandom(1);
  const counts = new Array(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[random.integer(7)]++;
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400); // four standard deviations
});

test("normals have mean 0, variance std² and kurtosis 3, one by one and filled", () => {
  const random = createRandom(3);
  const filled = new Float32Array(200_001);
  random.fillNormal(filled, 2);
  const single = Float64Array.from({ length: 100_000 }, () => random.normal());
  for (const [values, variance] of [
    [filled, 4],
    [single, 1],
  ] as const) {
    const m = moments(values);
    expect(Math.abs(m.mean)).toBeLessThan(0.02);
    expect(Math.abs(m.variance / variance - 1)).toBeLessThan(0.02);
    expect(Math.abs(m.kurtosis - 3)).toBeLessThan(0.1);
  }
});
