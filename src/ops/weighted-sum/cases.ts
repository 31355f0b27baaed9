/** Sizes and weights on which every backend's weighted sum must equal reference.ts. */
import { normals } from "../../../test/support/random.ts";

const list: [name: string, size: number, weights: number[]][] = [
  ["one loss", 1, [1]],
  ["two losses", 1, [1, 1e-4]],
  ["a size with a remainder", 67, [0.5, -2, 1 / 3]],
  ["more than one block for each thread", 1000, [1, 0]],
];

export const cases = list.map(([name, size, weights], i) => ({
  name,
  size,
  weights,
  inputs: weights.map((_, k) => normals(size, 600 + 10 * i + k)),
}));
