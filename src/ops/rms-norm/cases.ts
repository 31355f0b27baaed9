/** Shapes and values on which every backend's RMSNorm must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number][] = [
  ["one value", 1, 1],
  ["one row", 1, 64],
  ["a width with a remainder", 5, 67],
  ["tiny's width", 33, 384],
  ["more threads than rows", 2, 100],
];

export const cases = shapes.map(([name, rows, width], i) => ({
  name,
  rows,
  width,
  eps: 1e-5,
  x: normals(rows * width, 10 + i),
  gain: normals(width, 20 + i),
  dy: normals(rows * width, 30 + i),
}));
