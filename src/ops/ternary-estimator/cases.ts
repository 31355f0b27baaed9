/** Rules, settings and sizes on which every backend must agree with reference.ts. */
import type { Op } from "../op.ts";
import { ewgsEstimator, resteEstimator, softEstimator, trustEstimator } from "./index.ts";

const shapes: [name: string, rows: number, width: number][] = [
  ["one value", 1, 1],
  ["a remainder", 5, 67],
  ["more than one block for each thread", 33, 96],
];

const reste = { to: 3, limit: 1.5, center: 0.1, threshold: 0.5 };
// biome-ignore lint/suspicious/noExplicitAny: a table of ops with params of their own.
const rules: [rule: string, op: Op<any>, params: Record<string, number>][] = [
  ["trust 0.5", trustEstimator, { trust: 0.5, progress: 0.3 }],
  ["trust 0.2", trustEstimator, { trust: 0.2, progress: 1 }],
  ["soft, at the start", softEstimator, { from: 0.1, to: 10, threshold: 0.5, progress: 0 }],
  ["soft, at the end", softEstimator, { from: 0.1, to: 10, threshold: 0.5, progress: 1 }],
  ["ewgs", ewgsEstimator, { delta: 0.2, progress: 0 }],
  ["reste, at the start", resteEstimator, { ...reste, progress: 0 }],
  ["reste, in the middle", resteEstimator, { ...reste, progress: 0.5 }],
  ["reste, at the end, one step", resteEstimator, { ...reste, threshold: 0, progress: 1 }],
];

export const cases = rules.flatMap(([rule, op, params]) =>
  shapes.map(([shape, rows, width]) => ({ name: `${rule}: ${shape}`, op, params, rows, width })),
);
