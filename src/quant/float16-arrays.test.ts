// Oracle: the definitions of the formats, as sums of powers of two, over all 65,536 codes. Bound: none.
import { expect, test } from "vitest";
import { bfloat16ToFloat32 } from "./bfloat16.ts";
import { float16ToFloat32 } from "./float16.ts";

const codes = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** A number with this many exponent and fraction bits, by IEEE 754's definition. */
function define(code: number, exponentBits: number, fractionBits: number): number {
  const sign = code >> 15 ? -1 : 1;
  const exponent = (code >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (code & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

test.each([
  ["float16", float16ToFloat32, 5, 10],
  ["bfloat16", bfloat16ToFloat32, 8, 7],
] as const)("every code of %s becomes its number", (_, convert, exponentBits, fractionBits) => {
  const actual = convert(codes);
  const wrong = Array.from(codes).filter((code) => !Object.is(actual[code], define(code, exponentBits, fractionBits)));
  expect(wrong).toEqual([]);
});
