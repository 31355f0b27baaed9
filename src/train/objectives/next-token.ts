/** Cross entropy of the next token, in nats: what a language model is trained on, and what validation measures. */
import { crossEntropy } from "../../ops/cross-entropy/index.ts";
import { defineObjective, type Objective } from "./objective.ts";

export const nextTokenObjective: Objective = {
  name: "next-token",
  loss(_model, _batch, { runtime, logits, targets }) {
    const [loss] = runtime.applyAll(crossEntropy, [logits(), targets()], {});
    return { loss };
  },
};

export const nextToken = defineObjective({ name: "next-token", create: () => nextTokenObjective });
