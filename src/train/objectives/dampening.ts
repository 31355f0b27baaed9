/**
 * Dampening of oscillations (Nagel et al. 2022, arXiv:2203.11086): sum (Q(w) - clip(w, -s, s))², with Q(w) and s constants. It
 * pulls weights inside the grid to their level, and leaves those outside alone. The source raises the weight from 0 to 0.1
 * by a cosine.
 */
import { gridPenalty } from "./grid-penalty.ts";
import { defineObjective } from "./objective.ts";
import { penaltyOptions, weightObjective } from "./weights.ts";

export const dampening = defineObjective({
  name: "dampening",
  options: penaltyOptions,
  create: (options, context) => weightObjective("dampening", context, options, gridPenalty("dampening")),
});
