/**
 * The rectified straight-through estimator (ReSTE, ICCV 2023): the slope of the power function sign(v) |v|^(1/o), with o
 * from 1 (straight-through) to 3 linearly during the run. Within |v| <= center the slope is constant, since the power's has
 * no bound there; above the limit it is 0. v is the distance from the grid's nearest step, 1 at the levels 0 and s; with
 * threshold 0 it is the source's |w| / s, which has one step, at 0.
 */
import { z } from "zod";
import { type ResteParams, resteEstimator } from "../../ops/ternary-estimator/index.ts";
import type { Estimator } from "./estimator.ts";

export const reste: Estimator<ResteParams> = {
  name: "reste",
  schema: z.strictObject({
    /** o at the end of the run. */
    to: z.number().min(1).default(3),
    /** |v| above which a weight gets no gradient. */
    limit: z.number().positive().default(1.5),
    /** |v| within which the slope is that at this point. */
    center: z.number().positive().default(0.1),
    /** Where the steps are, in units of the scale s. */
    threshold: z.number().min(0).lt(1).default(0.5),
  }),
  op: resteEstimator,
};
