/** L1 of the latent weights, sum |w|: more of them become 0. */
import { gridPenalty } from "./grid-penalty.ts";
import { defineObjective } from "./objective.ts";
import { penaltyOptions, weightObjective } from "./weights.ts";

export const l1 = defineObjective({
  name: "l1",
  options: penaltyOptions,
  create: (options, context) => weightObjective("l1", context, options, gridPenalty("l1")),
});
