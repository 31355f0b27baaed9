/** The straight-through estimator (Bengio et al., arXiv:1308.3432): dL/dw = dL/dQ(w). BitNet b1.58's. */
import type { Estimator } from "./estimator.ts";

export const identity: Estimator<Record<string, never>> = { name: "identity", op: null };
