/**
 * Full precision first, then ternary at the peak learning rate, with the decay fused ("Compute-Optimal Quantization-Aware
 * Training", arXiv:2509.22935; "Continual Quantization-Aware Pre-Training", arXiv:2502.11895): lambda is 0 for F steps, then
 * rises to 1 on a line over `bridge`.
 *
 * `decay: fused` holds the learning rate at its peak for these F steps, and the schedule decays over the rest: behind the
 * warm-up of W steps, at step s the schedule stands at W for s <= F, else at W + (s - F) (N - W) / (N - F). `decay:
 * schedule` leaves the schedule as it is, which for most kinds spends a part of its decay in full precision.
 */
import { z } from "zod";
import { UsageError } from "../../platform/errors.ts";
import { type Moment, momentSchema, type ProgressiveDefinition, ramp, stepsOf } from "./progressive.ts";

export const fullFirst = {
  kind: "full-first",
  schema: z.strictObject({
    kind: z.literal("full-first"),
    /** Until then nothing is quantized. */
    until: momentSchema,
    /** How long lambda rises from then on. */
    bridge: momentSchema,
    decay: z.enum(["fused", "schedule"]),
  }),
  // Best switch of arXiv:2502.11895: 2,000 of 10,000 steps.
  defaults: { until: "20%", bridge: "2%", decay: "fused" },
  create({ until, bridge, decay }, run) {
    const { steps: N, warmupSteps: W } = run;
    const F = stepsOf(until, run);
    const lambdas = ramp({ start: F, end: F + stepsOf(bridge, run) }, run);
    if (decay === "schedule") return lambdas;
    if (F < W)
      throw new UsageError(
        `train.progressive: until is ${until} (${F} steps), but the warm-up has ${W}; raise until, lower schedule.warmupSteps, or set decay: schedule`,
      );
    return {
      ...lambdas,
      scheduleStep: (step) => (step <= W ? step : step <= F ? W : W + ((step - F) * (N - W)) / (N - F)),
    };
  },
} as const satisfies ProgressiveDefinition<{
  kind: "full-first";
  until: Moment;
  bridge: Moment;
  decay: "fused" | "schedule";
}>;
