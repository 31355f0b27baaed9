// Oracle: shares divide any work without rest or overlap.
import { describe, expect, test } from "vitest";
import { checkShare, isInShare, parseShare, shareName, wholeShare } from "./share.ts";

test("shares have every piece once", () => {
  for (const count of [1, 2, 5, 16]) {
    const owners = Array.from({ length: 40 }, (_, piece) =>
      Array.from({ length: count }, (_, index) => index).filter((index) => isInShare(piece, { index, count })),
    );
    expect(owners.map((list) => list.length)).toEqual(new Array(40).fill(1));
    expect(new Set(owners.flat()).size).toBe(count);
  }
  expect([0, 1, 2].every((piece) => isInShare(piece, wholeShare))).toBe(true);
});

test("are written and read as I/N", () => {
  expect(parseShare("3/16")).toEqual({ index: 3, count: 16 });
  expect(shareName(parseShare("0/1"))).toBe("0/1");
});

describe("are refused where they are none", () => {
  test.for(["", "3", "3/", "/2", "2/2", "3/2", "-1/2", "1/2/3", "1.5/2", "0/0", " 1/2", "0/99999999999999999999"])(
    '"%s"',
    (text) => {
      expect(() => parseShare(text)).toThrow(`share "${text}": expected I/N with I below N, such as 0/4`);
    },
  );
  test.for([
    [2, 2],
    [-1, 2],
    [0, 0],
    [0.5, 2],
    [0, Number.NaN],
  ])("%s of %s", ([index, count]) => {
    expect(() => checkShare({ index, count })).toThrow(`share ${index} of ${count}; expected a whole number of shares`);
  });
});
