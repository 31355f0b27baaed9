/**
 * Cross entropy against the uniform distribution as an op: the mean over the counted rows of log(sum of e^logits) - mean of
 * logits. The definition is in reference.ts. Called by train/objectives.
 */
import type { Op } from "../op.ts";
import { rowLoss } from "../row-loss.ts";
import { uniformCrossEntropyBackward, uniformCrossEntropyForward } from "./reference.ts";

export const uniformCrossEntropy: Op = rowLoss({
  name: "uniform-cross-entropy",
  forward: uniformCrossEntropyForward,
  backward: uniformCrossEntropyBackward,
});
