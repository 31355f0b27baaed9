// Oracle: the definition, |actual - expected| <= abs + rel * |expected|, element by element; NaN matches NaN alone.
import { describe, expect, test } from "vitest";
import { expectClose } from "./expect-close.ts";

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const message = (...args: Parameters<typeof expectClose>): string => {
  try {
    expectClose(...args);
  } catch (error) {
    return (error as Error).message;
  }
  return "close";
};

describe("expectClose accepts", () => {
  test.for<[what: string, ...Parameters<typeof expectClose>]>([
    ["nothing beside nothing", [], [], {}],
    ["equal values without a bound", [1, -2.5, 0], [1, -2.5, 0], {}],
    ["minus zero beside zero", [-0], [0], {}],
    ["a difference that is the bound", [1.5], [1], { abs: 0.5 }],
    ["a difference that is the relative bound", [75], [100], { rel: 0.25 }],
    ["a difference that both bounds make together", [74], [100], { abs: 1, rel: 0.25 }],
    ["NaN where NaN is expected", [nan, 1], [nan, 1], {}],
    ["infinities of the same sign", [infinity, -infinity], [infinity, -infinity], {}],
    ["typed arrays beside plain ones", Float32Array.of(0.5, 2), [0.5, 2], {}],
  ])("%s", ([, actual, expected, bound]) => {
    expect(message(actual, expected, bound)).toBe("close");
  });
});

describe("expectClose refuses", () => {
  test.for<[what: string, wanted: string, ...Parameters<typeof expectClose>]>([
    [
      "another length first, whatever the values",
      "array: has 2 elements, expected 3",
      [nan, 9],
      [1, 2, 3],
      { abs: 99 },
    ],
    ["an empty array beside values", "array: has 0 elements, expected 1", [], [1], { abs: 99 }],
    [
      "NaN where a number is expected, whatever the bound",
      "array[1]: is NaN, expected 2",
      [1, nan],
      [1, 2],
      { abs: 99 },
    ],
    ["a number where NaN is expected", "array[0]: is 1, expected NaN", [1], [nan], { abs: 99 }],
    ["NaN before a value that is out of bounds", "array[1]: is NaN, expected 0", [500, nan], [0, 0], { abs: 1 }],
    ["an infinity beside a number", "array[0]: is Infinity, expected 1; off by Infinity", [infinity], [1], { abs: 99 }],
    ["a number beside an infinity", "array[0]: is 1, expected Infinity", [1], [infinity], { abs: 99 }],
    ["infinities of other signs", "array[0]: is -Infinity, expected Infinity", [-infinity], [infinity], { abs: 99 }],
    [
      "an infinity beside a number under a relative bound",
      "array[0]: is 1, expected Infinity",
      [1],
      [infinity],
      { rel: 1 },
    ],
    ["the least difference without a bound", "array[0]: is 1.0000000000000002, expected 1", [1 + 2 ** -52], [1], {}],
    ["a difference above the bound", "array[0]: is 1.75, expected 1; off by 0.75", [1.75], [1], { abs: 0.5 }],
    ["a relative bound taken of what came", "array[0]: is 100, expected 75", [100], [75], { rel: 0.25 }],
  ])("%s", ([, wanted, actual, expected, bound]) => {
    expect(message(actual, expected, bound)).toContain(wanted);
  });

  test("naming the worst place of several, both values, the difference and the bound", () => {
    expect(message([0, 2, 9, 4], [0, 1, 4, 1], { abs: 0.5, rel: 0.125 }, "logits")).toBe(
      "logits[2]: is 9, expected 4; off by 5, bound abs 0.5 + rel 0.125",
    );
  });

  test("an infinity as the worst place, whatever else is out of bounds behind it", () => {
    expect(message([1, 5, 3], [infinity, 5.25, 1], { abs: 1, rel: 0.125 })).toContain(
      "array[0]: is 1, expected Infinity",
    );
  });

  test("the worst by how far it lies beyond its own bound, not by its difference", () => {
    expect(message([1100, 3], [1000, 1], { rel: 0.125 })).toContain("array[1]: is 3, expected 1");
  });
});
