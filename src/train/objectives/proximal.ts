/**
 * The proximal pull to the grid: 1/2 · sum (w - Q(w))², with Q(w) constant (ProxQuant, arXiv:1810.00861, in its squared form).
 * A step of plain descent on it is w <- (1 - a) w + a Q(w), a = learning rate · weight: the pull of WinQ (arXiv:2605.17471),
 * in every step instead of now and then.
 */
import { gridPenalty } from "./grid-penalty.ts";
import { defineObjective } from "./objective.ts";
import { penaltyOptions, weightObjective } from "./weights.ts";

export const proximal = defineObjective({
  name: "proximal",
  options: penaltyOptions,
  create: (options, context) => weightObjective("proximal", context, options, gridPenalty("proximal")),
});
