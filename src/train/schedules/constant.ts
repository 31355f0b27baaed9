/** The peak, all along: P. No warm-up where the config says "auto". */
import { z } from "zod";
import { type ScheduleDefinition, scheduleKeys, warmedUp } from "./schedule.ts";

export const constant = {
  kind: "constant",
  schema: z.strictObject({ kind: z.literal("constant"), ...scheduleKeys }),
  defaults: { warmupSteps: "auto" },
  autoWarmupSteps: () => 0,
  create({ warmupSteps }, { learningRate, weightDecay }, steps) {
    const share = warmedUp({ warmupSteps, steps }, () => 1);
    return (step) => ({ learningRate: learningRate * share(step), weightDecay });
  },
} as const satisfies ScheduleDefinition<{ kind: "constant"; warmupSteps: number }>;
