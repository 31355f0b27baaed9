/** Shapes and values on which every backend's matrix products must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, m: number, n: number, k: number][] = [
  ["one number", 1, 1, 1],
  ["one row by one weight row", 1, 1, 37],
  ["one row by many", 1, 131, 65],
  ["three rows", 3, 13, 129],
  ["four rows", 4, 6, 300],
  ["rows that do not fill a tile", 7, 70, 40],
  ["k = 1", 11, 19, 1],
  ["n = 1", 23, 1, 50],
  ["odd everything", 13, 67, 33],
  ["a tile exactly", 24, 64, 64],
  ["more rows than a block, k over two stretches", 101, 70, 801],
  ["more columns, and more k, than are packed at once", 9, 1350, 1530],
];

export const cases = shapes.map(([name, m, n, k], i) => ({
  name,
  m,
  n,
  k,
  x: normals(m * k, 100 + i),
  w: normals(n * k, 200 + i),
  dy: normals(m * n, 300 + i),
}));
