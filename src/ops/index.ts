/**
 * Ops for programs that build losses, layers and optimisers of their own (`bitnet.ts/ops`): what `runtime.apply` takes, and
 * what an op of one's own is made of (op.ts; a kernel without C++ says `host: true`).
 * Code of this package imports an op from its own folder.
 */
export { defineKernel, type NDArray } from "../backends/backend.ts";
export { accumulate, add, copy } from "./add/index.ts";
export { crossEntropy } from "./cross-entropy/index.ts";
export { distillation, sampledDistillation } from "./distillation/index.ts";
export { embedding } from "./embedding/index.ts";
export { fill } from "./fill/index.ts";
export { gatedActivation } from "./gated-activation/index.ts";
export { maskedMse } from "./masked-mse/index.ts";
export { matmul } from "./matmul/index.ts";
export { type BackwardContext, type ForwardResult, type GradTarget, type Op, type OpContext, sizeOf } from "./op.ts";
export { relationKl } from "./relation-kl/index.ts";
export { rmsNorm } from "./rms-norm/index.ts";
export { sgdStep } from "./sgd/index.ts";
export { sumSquares } from "./sum-squares/index.ts";
export { uniformCrossEntropy } from "./uniform-cross-entropy/index.ts";
export { gather, weightedSum } from "./weighted-sum/index.ts";
export { zLoss } from "./z-loss/index.ts";
