/** P * (f + (1 - f) * (1 + cos(pi * p)) / 2), f being the final fraction of the peak. */
import { z } from "zod";
import { finalFraction, type ScheduleDefinition, scheduleKeys, warmedUp } from "./schedule.ts";

export const cosine = {
  kind: "cosine",
  schema: z.strictObject({ kind: z.literal("cosine"), ...scheduleKeys, finalFraction }),
  defaults: { warmupSteps: "auto", finalFraction: 0.1 },
  create({ warmupSteps, finalFraction: f }, { learningRate, weightDecay }, steps) {
    const share = warmedUp(
      { warmupSteps, steps },
      (progress) => f + (1 - f) * ((1 + Math.cos(Math.PI * progress)) / 2),
    );
    return (step) => ({ learningRate: learningRate * share(step), weightDecay });
  },
} as const satisfies ScheduleDefinition<{ kind: "cosine"; warmupSteps: number; finalFraction: number }>;
