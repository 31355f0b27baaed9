/** Weights on which every backend's quantisation must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";
import type { ScaleRule } from "./reference.ts";

const shapes: [n: number, k: number][] = [
  [1, 1],
  [3, 5],
  [1, 67],
  [7, 33],
  [64, 96],
];

export const cases = (["add", "clamp"] as ScaleRule[]).flatMap((rule) =>
  shapes.map(([n, k], i) => ({ name: `${n} x ${k}, ${rule}`, rule, n, k, eps: 1e-5, w: normals(n * k, 40 + i, 0.02) })),
);
