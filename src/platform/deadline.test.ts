/** Oracle: the work itself, which either ends or never would. No test waits for longer than its limit. */
import { expect, test } from "vitest";
import { withinTime } from "./deadline.ts";
import { DataError, UnsupportedError } from "./errors.ts";

const words = () => "the work takes too long; do less";

test("work that ends gives its value, and its own error passes through", () => {
  expect(withinTime(10_000, words, () => 42)).toBe(42);
  expect(() =>
    withinTime(10_000, words, () => {
      throw new DataError("mine");
    }),
  ).toThrow(DataError);
});

test("a loop without an end, and one that catches everything, is stopped by name", () => {
  const forever = () => {
    for (;;);
  };
  expect(() => withinTime(50, words, forever)).toThrow(UnsupportedError);
  expect(() =>
    withinTime(50, words, () => {
      try {
        forever();
      } catch {
        return 1;
      }
      return 2;
    }),
  ).toThrow(/the work takes too long; do less \(stopped after 0.05 s\)/);
});

test("a regular expression that backtracks without an end is stopped", () => {
  expect(() => withinTime(50, words, () => /^(a+)+$/.test(`${"a".repeat(60)}b`))).toThrow(UnsupportedError);
});

test("limits nest: the inner one's error is an error like any other to the outer", () => {
  const inner = () => {
    try {
      return withinTime(
        30,
        () => "inner",
        () => {
          for (;;);
        },
      );
    } catch {
      return "caught";
    }
  };
  expect(withinTime(10_000, words, inner)).toBe("caught");
  expect(withinTime(1000, words, () => 1)).toBe(1);
});
