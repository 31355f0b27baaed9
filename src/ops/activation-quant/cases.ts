/** Rows on which every backend's quantisation must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number][] = [
  ["one value", 1, 1],
  ["a short row", 2, 3],
  ["a width with a remainder", 5, 67],
  ["tiny's width", 33, 384],
  ["more threads than rows", 2, 100],
];

export const cases = shapes.map(([name, rows, width], i) => ({
  name,
  rows,
  width,
  x: normals(rows * width, 50 + i, 10 ** (i - 2)),
}));
