// Oracle: the issue's own words (zero-based, positive is better, 0 % parity) worked out by hand; nothing of ours computes the
// expected words.
import { expect, test } from "vitest";
import { deltaOf, differenceError, formatDelta, interpret, thresholds } from "./interpret.ts";

test("delta is positive where the first is better, for both directions, and 0 at parity", () => {
  expect(deltaOf(120, 100, true)).toBeCloseTo(0.2, 12);
  expect(deltaOf(80, 100, false)).toBeCloseTo(0.2, 12);
  expect(deltaOf(80, 100, true)).toBeCloseTo(-0.2, 12);
  expect(deltaOf(120, 100, false)).toBeCloseTo(-0.2, 12);
  expect(deltaOf(3, 3, false)).toBe(0);
});

test("there is no delta where a value is missing, infinite, or the baseline is 0", () => {
  expect(deltaOf(null, 1, true)).toBeNull();
  expect(deltaOf(1, null, true)).toBeNull();
  expect(deltaOf(1, 0, true)).toBeNull();
  expect(deltaOf(Number.NaN, 1, true)).toBeNull();
  expect(interpret(null)).toBe("not compared");
  expect(formatDelta(null)).toBe("–");
});

test.for([
  [0.2, "major win"],
  [0.1999, "win"],
  [0.02, "win"],
  [0.0199, "parity"],
  [0, "parity"],
  [-0.02, "parity"],
  [-0.0201, "minor gap"],
  [-0.1, "minor gap"],
  [-0.1001, "needs improvement"],
  [-0.25, "needs improvement"],
  [-0.2501, "significant deficiency"],
  [-5, "significant deficiency"],
] as const)("a delta of %d is called %s", ([delta, word]) => {
  expect(interpret(delta)).toBe(word);
});

test("the thresholds fall, and every word but the noise has one", () => {
  const from = thresholds.map(({ fromPercent }) => fromPercent);
  expect(from).toEqual([...from].sort((a, b) => b - a));
  expect(thresholds).toHaveLength(6);
});

test("values less than 1.96 standard errors apart are within noise, however large the delta", () => {
  const error = differenceError(0.03, 0.04);
  expect(error).toBeCloseTo(0.05, 12);
  expect(interpret(0.5, { value: 0.097, standardError: error })).toBe("within noise");
  expect(interpret(0.5, { value: 0.099, standardError: error })).toBe("major win");
  expect(interpret(0.5, { value: 0.099, standardError: null })).toBe("major win");
  expect(differenceError(null, null)).toBeNull();
  expect(differenceError(0.1, null)).toBeCloseTo(0.1, 12);
});

test("deltas are written with their sign, and what rounds to zero has none", () => {
  expect([0.1234, -0.04, -0.0001, 0].map(formatDelta)).toEqual(["+12.3 %", "-4.0 %", "0.0 %", "0.0 %"]);
});
