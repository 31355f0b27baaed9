/** Sizes and degrees on which every backend's clip-quant must equal reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number, levels: number, clip: number, lambda: number][] = [
  ["one value", 1, 1, 127, 0.5, 1],
  ["a remainder, four bits", 5, 67, 7, 1.5, 1],
  ["more than one block for each thread, half way", 33, 96, 127, 2, 0.5],
  ["a clip below the least", 3, 20, 7, -1, 1],
];

export const cases = shapes.map(([name, rows, width, levels, clip, lambda], i) => ({
  ...{ name: `${name}: [${rows}, ${width}]`, rows, width, levels, clip, lambda },
  x: normals(rows * width, 70 + i),
}));
