/**
 * Learned step size quantization (LSQ, Esser et al., arXiv:1902.08153) of three levels: q = clip(round(w / a), -1, 1), w ≈ a · q. The
 * step's gradient is q - w / a inside the range |w| <= a, the sign outside, times 1 / sqrt(N · K); weights outside get none.
 */
import { learnedScale } from "./learned-scale.ts";

/** Begins by 2 mean|w|, as the paper has it for Qp = 1. */
export const lsq = learnedScale("lsq", { levels: 1, range: 1, slope: 1 }, 2);
