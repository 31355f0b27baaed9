/**
 * Kurtosis regularization (KURE, arXiv:2002.07686): mean over the layers of (K - target)², K the kurtosis of a layer's weights
 * (1.8: uniform, 3: normal). The formula is in ops/weight-penalty.
 */
import { z } from "zod";
import { weightKurtosis } from "../../ops/weight-penalty/index.ts";
import { defineObjective } from "./objective.ts";
import { layersOption, weightObjective } from "./weights.ts";

export const kurtosis = defineObjective({
  name: "kurtosis",
  options: {
    ...layersOption,
    /** The kurtosis aimed at. */
    target: z.number().min(1).default(1.8),
  },
  create: ({ target, layers }, context) =>
    weightObjective("kurtosis", context, { layers, reduce: "layers" }, (runtime, { weight }) =>
      runtime.apply(weightKurtosis, [weight.tensor], { target }),
    ),
});
