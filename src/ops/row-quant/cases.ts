/** Sizes and bits on which every backend's row-quant must equal reference.ts. */
import { normals } from "../../../test/support/random.ts";

const shapes: [name: string, rows: number, width: number, bits: number][] = [
  ["one value", 1, 1, 8],
  ["a width with a remainder", 5, 67, 4],
  ["more rows than threads", 33, 96, 3],
  ["three levels", 7, 48, 2],
];

export const cases = shapes.map(([name, rows, width, bits], i) => {
  const w = normals(rows * width, 60 + i);
  // A row of zeros, and one too small for a scale.
  if (rows > 2) {
    w.fill(0, 0, width);
    w.fill(1e-40, width, 2 * width);
  }
  return { name: `${name}: [${rows}, ${width}], ${bits} bits`, rows, width, bits, w };
});
