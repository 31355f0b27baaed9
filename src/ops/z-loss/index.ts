/** z-loss as an op: the mean of log(sum of e^logits)² over the counted rows. The definition is in reference.ts. Called by train/objectives. */
import type { Op } from "../op.ts";
import { rowLoss } from "../row-loss.ts";
import { zLossBackward, zLossForward } from "./reference.ts";

export const zLoss: Op = rowLoss({ name: "z-loss", forward: zLossForward, backward: zLossBackward });
