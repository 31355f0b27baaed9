/** Shapes for packed-linear: rows below and above what is taken at once, edges of panels, blocks, stretches and tiles. */
import type { TernaryFormat } from "../../quant/packed-ternary.ts";
import type { LinearEnd } from "./reference.ts";

export interface PackedCase {
  name: string;
  m: number;
  n: number;
  k: number;
  end: LinearEnd;
  format: TernaryFormat;
  gain: boolean;
}

const shapes: [m: number, n: number, k: number][] = [
  [1, 1, 1],
  [1, 40, 33],
  [2, 16, 48],
  [3, 33, 260],
  [5, 17, 1300],
  [8, 48, 64],
  [9, 50, 39],
  [15, 100, 80],
  [9, 19, 4500],
];
/** More rows, and more columns, than a product's blocks hold. */
const large: [m: number, n: number, k: number] = [101, 600, 24];
const ends: LinearEnd[] = ["store", "add", "silu", "relu2"];

export const cases: PackedCase[] = [...shapes, large].flatMap(([m, n, k], i) =>
  (["2bit", "trits"] as const).flatMap((format) =>
    (i < 2 || i === 6 || m > 100 ? ends : [ends[i % 4]]).map((end) => ({
      name: `[${m}, ${k}] by ${n} rows, ${format}, ${end}`,
      ...{ m, n, k, end, format, gain: i % 2 === 0 },
    })),
  ),
);
