/** Shapes and values on which every backend's RMSNorm must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number, scale?: number][] = [
  ["one value", 1, 1],
  ["one row", 1, 64],
  ["a width with a remainder", 5, 67],
  ["tiny's width", 33, 384],
  ["more threads than rows", 2, 100],
  ["a width past one block of columns", 3, 5003],
  ["more tokens than a batch of tiny has", 8200, 17],
  ["rows of zeros", 4, 20, 0],
  // The squares of these leave float32, one way and the other; the norm does not.
  ["huge values", 4, 40, 1e25],
  ["values far below eps", 4, 40, 1e-25],
];

export const cases = shapes.map(([name, rows, width, scale = 1], i) => ({
  name,
  rows,
  width,
  eps: 1e-5,
  x: normals(rows * width, 10 + i, scale),
  gain: normals(width, 20 + i),
  dy: normals(rows * width, 30 + i),
}));
