/** Sizes on which every backend's add, accumulate and copy must equal reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, shape: number[]][] = [
  ["one value", [1]],
  ["fewer values than lanes", [3]],
  ["a size with a remainder", [5, 67]],
  ["more than one block for each thread", [33, 384]],
];

export const cases = shapes.map(([name, shape], i) => {
  const n = shape.reduce((a, b) => a * b, 1);
  return { name, shape, a: normals(n, 10 + i), b: normals(n, 20 + i), dy: normals(n, 30 + i) };
});
