/** Shapes and values on which every backend's BitLinear must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, m: number, k: number, outputs: number[]][] = [
  ["one number", 1, 1, [1]],
  ["one row, q, k and v", 1, 96, [96, 48, 48]],
  ["one row, a width with a remainder", 1, 77, [19]],
  ["few rows, each count of them", 7, 130, [13]],
  ["k = 1", 11, 1, [19]],
  ["a width that is no multiple of four", 17, 35, [66, 7]],
  ["a tile exactly", 24, 64, [64]],
  ["more weights than one launch takes", 13, 40, [9, 8, 7, 6, 5]],
  ["more rows than a block", 101, 192, [70, 130]],
  ["more rows than share a scale of the int8 gradient", 1030, 9, [11]],
  ["k over two stretches", 10, 4101, [67]],
  ["outputs over two stretches", 9, 68, [1000]],
];

export const cases = shapes.map(([name, m, k, outputs], i) => ({
  name,
  m,
  k,
  outputs,
  x: normals(m * k, 400 + i),
  weights: outputs.map((n, j) => normals(n * k, 500 + 10 * i + j, 0.05)),
  outputGradients: outputs.map((n, j) => normals(m * n, 700 + 10 * i + j)),
}));
