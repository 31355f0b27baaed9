/**
 * The trust mask of QuEST (arXiv:2502.05003): a weight gets the gradient while it is near its level of the grid,
 * |w - Q(w)| <= trust · s. At 0.5, half a step of the grid as in the source, rounding never masks a weight inside the grid,
 * and outside it weights get a gradient up to |w| = 1.5 s. With a threshold other than s / 2 (TWN) it masks inside too.
 */
import { z } from "zod";
import { type TrustParams, trustEstimator } from "../../ops/ternary-estimator/index.ts";
import type { Estimator } from "./estimator.ts";

export const quest: Estimator<TrustParams> = {
  name: "quest",
  schema: z.strictObject({
    /** In units of the scale s. */
    trust: z.number().positive().default(0.5),
  }),
  op: trustEstimator,
};
