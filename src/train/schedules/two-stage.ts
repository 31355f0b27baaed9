/**
 * Linear, and from the step after the midpoint N / 2 on times the second stage's fraction; weight decay 0 from there ("The
 * Era of 1-bit LLMs: Training Tips, Code and FAQ": one linear decay to 0 whose peak is swapped for a lower one half-way, so
 * that the rate falls at once by a third and then goes on falling).
 */
import { z } from "zod";
import { finalFraction, type ScheduleDefinition, scheduleKeys, warmedUp } from "./schedule.ts";

export const twoStage = {
  kind: "two-stage",
  schema: z.strictObject({
    kind: z.literal("two-stage"),
    ...scheduleKeys,
    finalFraction,
    /** From the midpoint on, the peak is this share of optimizer.learningRate. */
    secondStageFraction: z.number().min(0).max(1),
    /** Weight decay from the midpoint on. */
    secondStageWeightDecay: z.number().min(0),
  }),
  // 1.5e-3 to 1e-3, 1.2e-3 to 8e-4.
  defaults: { warmupSteps: "auto", finalFraction: 0, secondStageFraction: 2 / 3, secondStageWeightDecay: 0 },
  create(config, peak, steps) {
    const { warmupSteps, finalFraction: f } = config;
    const share = warmedUp({ warmupSteps, steps }, (progress) => f + (1 - f) * (1 - progress));
    return (step) => {
      const second = step * 2 > steps;
      return {
        learningRate: peak.learningRate * share(step) * (second ? config.secondStageFraction : 1),
        weightDecay: second ? config.secondStageWeightDecay : peak.weightDecay,
      };
    };
  },
} as const satisfies ScheduleDefinition<{
  kind: "two-stage";
  warmupSteps: number;
  finalFraction: number;
  secondStageFraction: number;
  secondStageWeightDecay: number;
}>;
