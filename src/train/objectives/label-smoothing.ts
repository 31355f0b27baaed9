/**
 * Label smoothing (Szegedy et al. 2015, arXiv:1512.00567), in place of the next-token loss: the target has probability
 * 1 - e + e / V, every other token e / V, as PyTorch's `label_smoothing`. The plain next-token loss is logged with it.
 */
import { z } from "zod";
import { crossEntropy } from "../../ops/cross-entropy/index.ts";
import { uniformCrossEntropy } from "../../ops/uniform-cross-entropy/index.ts";
import { weightedSum } from "../../ops/weighted-sum/index.ts";
import { defineObjective } from "./objective.ts";

export const labelSmoothing = defineObjective({
  name: "label-smoothing",
  options: {
    /** e: the share of probability that is spread over the vocabulary. */
    smoothing: z.number().min(0).lt(1),
  },
  create: ({ smoothing }) => ({
    name: "label-smoothing",
    loss(_model, _batch, { runtime, logits, targets }) {
      // Cross entropy first: its backward then is last, and writes over logits that nobody needs any more.
      const [target] = runtime.applyAll(crossEntropy, [logits(), targets()], {});
      const uniform = runtime.apply(uniformCrossEntropy, [logits(), targets()], {});
      const loss = runtime.apply(weightedSum, [target, uniform], { weights: [1 - smoothing, smoothing] });
      return { loss, parts: { "next-token": target } };
    },
  }),
});
