// Oracle: the definition of each type's step: no element is off by more than half of it. Q4's bytes are also read by
// llama.cpp's Q4_0 layout (q4-0.ts, held to the layout in its own tests).
import { expect, test } from "vitest";
import { normals } from "../../test/support/random.ts";
import { q4_0 } from "./q4-0.ts";
import { q8_0 } from "./q8-0.ts";
import { type RowTypeName, rowTypes } from "./row-types.ts";

function roundTrip(name: RowTypeName, values: Float32Array): Float32Array {
  const type = rowTypes[name];
  const bytes = new Uint8Array(type.rowBytes(values.length)).fill(170);
  type.encodeRow(values, bytes);
  const back = new Float32Array(values.length).fill(Number.NaN);
  type.decodeRow(bytes, back);
  return back;
}

const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** Bound of an element's error in a row: half a step. */
const bounds: Record<RowTypeName, (x: number, row: Float32Array, i: number) => number> = {
  f32: () => 0,
  f16: (x) => Math.abs(x) * 2 ** -11 + 2 ** -25,
  bf16: (x) => Math.abs(x) * 2 ** -8,
  int8: (_, row) => (largest(row) / 127 / 2) * 1.001,
  // The scale is a float16, as of q4.
  q8: (_, row, i) => {
    const block = row.subarray(i - (i % 32), i - (i % 32) + 32);
    return (largest(block) / 127 / 2) * 1.001 + largest(block) * 2 ** -11;
  },
  // Of 16 levels -8 to 7 times d: the end opposite to the largest element is a whole step away. The scale is a float16.
  q4: (_, row, i) => {
    const block = row.subarray(i - (i % 32), i - (i % 32) + 32);
    return (largest(block) / 8) * 1.004 + largest(block) * 2 ** -10;
  },
};

test.for(Object.keys(rowTypes) as RowTypeName[])(
  "%s: every element comes back within its bound, whatever the width",
  (name) => {
    for (const width of [1, 31, 32, 33, 100, 384]) {
      const row = normals(width, width + 5, 0.3);
      const back = roundTrip(name, row);
      for (let i = 0; i < width; i++)
        expect(Math.abs(back[i] - row[i]), `width ${width}, element ${i}`).toBeLessThanOrEqual(
          bounds[name](row[i], row, i),
        );
      expect(roundTrip(name, new Float32Array(width))).toEqual(new Float32Array(width));
    }
  },
);

test("q4 holds the largest element of a block exactly where its eighth is a float16, with either sign", () => {
  for (const sign of [1, -1]) {
    const row = Float32Array.from({ length: 32 }, (_, i) => (i === 7 ? 4 * sign : (i % 5) * 0.1));
    expect(roundTrip("q4", row)[7]).toBe(4 * sign);
  }
});

test("q8's bytes are Q8_0's, and numbers of its grid come back as they are", () => {
  const row = normals(96, 4);
  const bytes = new Uint8Array(rowTypes.q8.rowBytes(96));
  rowTypes.q8.encodeRow(row, bytes);
  const back = new Float32Array(96);
  q8_0.decode(bytes, back);
  expect(back).toEqual(roundTrip("q8", row));
  expect(roundTrip("q8", back)).toEqual(back);
});

test("q4's bytes are Q4_0's", () => {
  const row = normals(64, 3);
  const bytes = new Uint8Array(rowTypes.q4.rowBytes(64));
  rowTypes.q4.encodeRow(row, bytes);
  const back = new Float32Array(64);
  q4_0.decode(bytes, back);
  expect(back).toEqual(roundTrip("q4", row));
});
