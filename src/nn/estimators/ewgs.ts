/**
 * Element-wise gradient scaling (EWGS, arXiv:2104.00903): g · (1 + delta · sign(g) · (w - Q(w)) / s). A gradient that moves
 * a weight towards the next step of the grid grows with its distance from its level, one that moves it back shrinks.
 * delta 0 is the straight-through estimator.
 */
import { z } from "zod";
import { type EwgsParams, ewgsEstimator } from "../../ops/ternary-estimator/index.ts";
import type { Estimator } from "./estimator.ts";

export const ewgs: Estimator<EwgsParams> = {
  name: "ewgs",
  schema: z.strictObject({
    /** The source's constant for large data sets. */
    delta: z.number().min(0).default(0.001),
  }),
  op: ewgsEstimator,
};
