/** P * (1 - (1 - f) * p), f being the final fraction of the peak. */
import { z } from "zod";
import { finalFraction, type ScheduleDefinition, scheduleKeys, warmedUp } from "./schedule.ts";

export const linear = {
  kind: "linear",
  schema: z.strictObject({ kind: z.literal("linear"), ...scheduleKeys, finalFraction }),
  defaults: { warmupSteps: "auto", finalFraction: 0 },
  create({ warmupSteps, finalFraction: f }, { learningRate, weightDecay }, steps) {
    const share = warmedUp({ warmupSteps, steps }, (progress) => f + (1 - f) * (1 - progress));
    return (step) => ({ learningRate: learningRate * share(step), weightDecay });
  },
} as const satisfies ScheduleDefinition<{ kind: "linear"; warmupSteps: number; finalFraction: number }>;
