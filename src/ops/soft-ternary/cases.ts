/** Sizes, temperatures and degrees on which every backend's soft-ternary must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number, temperature: number, lambda: number][] = [
  ["one value, hot", 1, 1, 1, 1],
  ["a remainder, half mixed in", 5, 67, 1, 0.5],
  ["cool, more than one block for each thread", 33, 96, 0.1, 1],
  ["cold", 7, 48, 0.01, 0.75],
  ["nothing mixed in", 3, 17, 1, 0],
  ["all but frozen", 4, 40, 1e-12, 1],
];

export const cases = shapes.map(([name, rows, width, temperature, lambda], i) => ({
  name: `${name}: [${rows}, ${width}], tau ${temperature}`,
  rows,
  width,
  temperature,
  lambda,
  w: normals(rows * width, 70 + i),
  dy: normals(rows * width, 80 + i),
}));
