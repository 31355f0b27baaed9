/**
 * The mean square of log(sum of e^logits), beside the next-token loss: it keeps logits from drifting to large values (PaLM,
 * arXiv:2204.02311, weight 1e-4). The formula is in ops/z-loss.
 */
import { zLoss as op } from "../../ops/z-loss/index.ts";
import { defineObjective } from "./objective.ts";

export const zLoss = defineObjective({
  name: "z-loss",
  create: () => ({
    name: "z-loss",
    loss: (_model, _batch, { runtime, logits, targets }) => ({ loss: runtime.apply(op, [logits(), targets()], {}) }),
  }),
});
