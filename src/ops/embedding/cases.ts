/** Ids and tables on which every backend's embedding must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";

const shapes: [name: string, ids: number[], vocabulary: number, width: number][] = [
  ["one id", [1], 1, 1],
  ["a batch with many repeats", [3, 40], 5, 16],
  ["a width with a remainder", [2, 9], 11, 67],
  ["rows that no id names", [4], 300, 33],
  ["tiny's table", [2, 64], 2048, 384],
];

export const cases = shapes.map(([name, shape, vocabulary, width], i) => {
  const count = shape.reduce((a, b) => a * b, 1);
  return {
    name,
    shape,
    vocabulary,
    width,
    ids: integers(count, 10 + i, vocabulary),
    table: normals(vocabulary * width, 20 + i),
    dy: normals(count * width, 30 + i),
  };
});
