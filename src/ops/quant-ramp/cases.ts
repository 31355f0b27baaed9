/** Sizes and degrees on which every backend's quant-ramp must equal reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number, lambda: number][] = [
  ["one value, nothing quantised", 1, 1, 0],
  ["a width with a remainder, a third", 5, 67, 1 / 3],
  ["more than one block for each thread, a half", 33, 96, 0.5],
  ["all quantised", 7, 48, 1],
];

export const cases = shapes.map(([name, rows, width, lambda], i) => ({
  name: `${name}: [${rows}, ${width}]`,
  rows,
  width,
  lambda,
  x: normals(rows * width, 40 + i),
}));
