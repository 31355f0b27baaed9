/**
 * Warm-up, stable, decay (Hu et al., "MiniCPM", arXiv:2404.06395): the peak P until the last `decayFraction` of the run, then
 * down to the final fraction f of it. With D = round(decayFraction N) and q(s) = (s - (N - D)) / D over the last D steps:
 *
 *   P · (f + (1 - f) · d(q))    d = 1 - q (linear), (1 + cos πq) / 2 (cosine), 1 - √q (1-sqrt)
 *
 * 1-sqrt is of Hägele et al., arXiv:2405.18392. A third of the run as decay was best at every width among runs of 5M to 350M
 * parameters, from float to 4 bits (arXiv:2605.25966).
 */
import { z } from "zod";
import { UsageError } from "../../platform/errors.ts";
import { finalFraction, type ScheduleDefinition, scheduleKeys } from "./schedule.ts";

const shapes = {
  linear: (q: number) => 1 - q,
  cosine: (q: number) => (1 + Math.cos(Math.PI * q)) / 2,
  "1-sqrt": (q: number) => 1 - Math.sqrt(q),
};

export const wsd = {
  kind: "wsd",
  schema: z.strictObject({
    kind: z.literal("wsd"),
    ...scheduleKeys,
    finalFraction,
    /** Share of the run, at its end, in which the rate falls. */
    decayFraction: z.number().min(0).max(1),
    /** How it falls. */
    decayShape: z.enum(["linear", "cosine", "1-sqrt"]),
  }),
  defaults: { warmupSteps: "auto", finalFraction: 0, decayFraction: 1 / 3, decayShape: "linear" },
  create({ warmupSteps, finalFraction: f, decayFraction, decayShape }, { learningRate, weightDecay }, steps) {
    const decaySteps = Math.round(decayFraction * steps);
    if (warmupSteps + decaySteps > steps)
      throw new UsageError(
        `schedule: ${warmupSteps} warm-up steps and ${decaySteps} of decay do not fit a run of ${steps}; lower schedule.warmupSteps or schedule.decayFraction`,
      );
    const shape = shapes[decayShape];
    const share = (step: number) => {
      if (step <= warmupSteps) return step / warmupSteps;
      if (step <= steps - decaySteps) return 1;
      // A resumed run may be shorter than where it stands.
      return f + (1 - f) * shape(Math.min(1, (step - (steps - decaySteps)) / decaySteps));
    };
    return (step) => ({ learningRate: learningRate * share(step), weightDecay });
  },
} as const satisfies ScheduleDefinition<{
  kind: "wsd";
  warmupSteps: number;
  finalFraction: number;
  decayFraction: number;
  decayShape: keyof typeof shapes;
}>;
