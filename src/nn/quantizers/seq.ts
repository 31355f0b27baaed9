/**
 * Stretched elastic quantization (SEQ), ternary, as ParetoQ has it (arXiv:2502.02631): q = round(1.5 · clip(w / a, -0.99, 0.99)) / 1.5,
 * w ≈ a · q, so the levels are 0 and 2a / 3 and the threshold is a / 3. ParetoQ learns one a for each row; here there is one for the
 * matrix, which every ternary format holds. Gradients are LSQ's, with that range.
 */
import { learnedScale } from "./learned-scale.ts";

/** Begins by 1.5 mean|w|: the codes and the scale of absmean. ParetoQ, which converts trained models, begins by max|w|. */
export const seq = learnedScale("seq", { levels: 1.5, range: 0.99, slope: 1 }, 1.5);
