/** Shapes and values on which every backend's rotary embedding must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";
import { rotaryTable } from "./reference.ts";

const shapes: [name: string, batch: number, tokens: number, heads: number, headWidth: number, start: number][] = [
  ["one pair", 1, 1, 1, 2, 0],
  ["tiny's heads", 2, 9, 8, 48, 0],
  ["a half narrower than a vector", 3, 5, 2, 6, 0],
  ["a half with a remainder", 1, 4, 3, 70, 0],
  ["one token after a cache", 2, 1, 4, 64, 29],
  ["several tokens after a cache", 2, 3, 2, 34, 5],
];

export const cases = shapes.map(([name, batch, tokens, heads, headWidth, start], i) => ({
  name,
  xShape: [batch, tokens, heads * headWidth],
  tableShape: [start + tokens + 2, headWidth],
  heads,
  start,
  x: normals(batch * tokens * heads * headWidth, 100 + i),
  dy: normals(batch * tokens * heads * headWidth, 120 + i),
  table: rotaryTable(start + tokens + 2, headWidth, 10000),
}));
