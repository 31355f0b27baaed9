/**
 * Soft steps that harden during the run, the error decay estimator (EDE) of IR-Net (arXiv:1909.10788): the gradient of
 * k tanh(t ·) in place of the step's, with t from 0.1 (nearly straight-through) to 10, geometrically, and k = max(1/t, 1).
 * The source has one step, at 0; ternary weights have two, at ±threshold · s, of half the height. With threshold 0 it is
 * the source's formula.
 */
import { z } from "zod";
import { type SoftParams, softEstimator } from "../../ops/ternary-estimator/index.ts";
import type { Estimator } from "./estimator.ts";

export const soft: Estimator<SoftParams> = {
  name: "soft",
  schema: z.strictObject({
    /** t at the start of the run. */
    from: z.number().positive().default(0.1),
    /** t at its end. */
    to: z.number().positive().default(10),
    /** Where the steps are, in units of the scale s. */
    threshold: z.number().min(0).default(0.5),
  }),
  op: softEstimator,
};
