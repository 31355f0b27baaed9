// Oracle: the definition, over all 65536 codes: a bfloat16 is a float32 whose lower half is zero, and the nearest one is
// found by trying both neighbours.
import { expect, test } from "vitest";
import { fromBfloat16Bits, roundToBfloat16, toBfloat16Bits } from "./bfloat16.ts";

test("every code survives a round trip (a NaN as a NaN)", () => {
  const lost = Array.from({ length: 65536 }, (_, code) => code).filter((code) => {
    const value = fromBfloat16Bits(code);
    const again = toBfloat16Bits(value);
    return Number.isNaN(value) ? !Number.isNaN(fromBfloat16Bits(again)) : again !== code;
  });
  expect(lost).toEqual([]);
});

test("rounds to the nearer neighbour, and from the middle to the even one, all over the range", () => {
  const infinite = 0x7f80;
  const wrong: number[] = [];
  for (let code = 0; code + 1 < infinite; code++) {
    const [low, high] = [fromBfloat16Bits(code), fromBfloat16Bits(code + 1)];
    const middle = (low + high) / 2; // exact in float32: one more bit than a bfloat16 has
    const even = code % 2 === 0 ? low : high;
    for (const sign of [1, -1])
      for (const [x, nearest] of [
        [middle, even],
        [low + (high - low) * 0.499, low],
        [low + (high - low) * 0.501, high],
      ])
        if (roundToBfloat16(sign * x) !== sign * nearest) wrong.push(sign * x);
  }
  expect(wrong).toEqual([]);
});

test("what is beyond the largest becomes infinite, and NaN with a small payload stays NaN", () => {
  expect(roundToBfloat16(3.4028234663852886e38)).toBe(Number.POSITIVE_INFINITY);
  expect(roundToBfloat16(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
  expect(roundToBfloat16(Number.NaN)).toBeNaN();
});
