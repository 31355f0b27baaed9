/**
 * Ternary weights by a learned scale s: the levels are -s, 0 and s, the threshold is s / 2, and s is trained as the levels of trained
 * ternary quantization are (TTQ, arXiv:1612.01064), one for both signs: dL/ds = sum of the gradient times q. TTQ sums as it is; here
 * the sum is scaled as LSQ's, so that one number does not outweigh the matrix where gradients are clipped.
 */
import { learnedScale } from "./learned-scale.ts";

/** Begins as absmean does. */
export const learned = learnedScale("learned", { levels: 1, range: Number.POSITIVE_INFINITY, slope: 0 }, 1);
