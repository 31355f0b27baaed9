/** The clipped straight-through estimator (HardTanh, arXiv:1602.02830): no gradient to weights far outside the grid. */
import { z } from "zod";
import { type ClippedParams, clippedEstimator } from "../../ops/clipped-estimator/index.ts";
import type { Estimator } from "./estimator.ts";

export const clipped: Estimator<ClippedParams> = {
  name: "clipped",
  schema: z.strictObject({
    /** c: weights get a gradient up to |w| = c · s. 1: up to the outer levels of the grid. */
    limit: z.number().positive().default(1),
  }),
  op: clippedEstimator,
};
