// Bounds by what a backend has. Oracle: the rules in bounds.ts, on one that has all and one that has nothing.
import { expect, test, vi } from "vitest";
import { createReferenceBackend } from "../../src/backends/reference.ts";
import { byRounding, bySums, expectCodes, needs, needsWidth } from "./bounds.ts";

const has = createReferenceBackend();
const lacks = {
  name: "coarse",
  isa: "none",
  supports: { ...has.supports, int8Gradients: false, float64Sums: false, ieee: false, anyByteWidth: false },
};

test("a backend that has all is held to the exact bound, one that lacks it to the loose one", () => {
  const [exact, loose] = [{ abs: 0 }, { abs: 1 }];
  expect([bySums(has, exact, loose), bySums(lacks, exact, loose)]).toEqual([exact, loose]);
  expect([byRounding(has, exact, loose), byRounding(lacks, exact, loose)]).toEqual([exact, loose]);
  for (const one of ["ieee", "float64Sums"] as const) {
    const supports = { ...has.supports, [one]: false };
    expect(byRounding({ ...lacks, supports }, exact, loose)).toBe(loose);
  }
});

test("codes are the same, or few and by one where division is no IEEE division", () => {
  const expected = new Int8Array(3000).fill(5);
  const off = (count: number, by = 1) => expected.map((code, i) => (i < count ? code + by : code));
  expectCodes(has, expected, expected);
  expectCodes(lacks, off(3), expected);
  expectCodes(lacks, [1, 2], [1, 1]);
  expect(() => expectCodes(has, off(1), expected)).toThrow("codes[0]: is 6, expected 5");
  expect(() => expectCodes(lacks, off(1, 2), expected)).toThrow("codes[0]: is 7, expected 5");
  expect(() => expectCodes(lacks, off(4), expected)).toThrow(
    "4 of 3000 codes are off by 1; expected at most 1 in 1000",
  );
  expect(() => expectCodes(lacks, [1], expected)).toThrow("has 1 elements");
});

test("what a backend lacks is skipped by name, with the reason", () => {
  const skip = vi.fn();
  needs(has, skip, "ieee", "float64Sums", "anyByteWidth", "int8Gradients");
  needsWidth(has, skip, 7);
  needsWidth(lacks, skip, 8, 12);
  expect(skip).not.toHaveBeenCalled();
  needsWidth(lacks, skip, 8, 7);
  expect(skip).toHaveBeenLastCalledWith("coarse none takes rows of bytes only in multiples of 4");
  needs(lacks, skip, "float64Sums");
  expect(skip).toHaveBeenLastCalledWith("coarse none sums in float32");
});
