/**
 * Range loss: sum max(|w| - limit · s, 0)², for weights so far outside the grid that they no longer change their code. It is the
 * squared form of range restriction with a fixed margin (R2 loss, arXiv:2303.08253), the margin in units of the scale.
 */
import { z } from "zod";
import { gridPenalty } from "./grid-penalty.ts";
import { defineObjective } from "./objective.ts";
import { penaltyOptions, weightObjective } from "./weights.ts";

export const range = defineObjective({
  name: "range",
  options: {
    ...penaltyOptions,
    /** In units of the scale s. 1.5: half a step of the grid beyond its outer levels. */
    limit: z.number().positive().default(1.5),
  },
  create: ({ limit, ...options }, context) => weightObjective("range", context, options, gridPenalty("range", limit)),
});
