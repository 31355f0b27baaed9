/** Sizes on which every backend's penalties must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number][] = [
  ["two weights", 1, 2],
  ["a remainder", 5, 67],
  ["more than one block for each thread", 33, 96],
];

export const cases = shapes.map(([name, rows, width], i) => ({
  name: `${name}: [${rows}, ${width}]`,
  rows,
  width,
  w: normals(rows * width, 300 + i),
}));
