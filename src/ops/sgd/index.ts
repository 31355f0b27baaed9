/** The SGD step: its contract and kernel. Not taped; the definition is in reference.ts. Called by train/. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { sgdReference } from "./reference.ts";

/** Float32 arrays of one shape. The step changes all but the gradient. */
export interface SgdArrays {
  weight: NDArray;
  gradient: NDArray;
  /** The running sum of gradients, zero before the first step; null only where the momentum is 0. */
  momentum: NDArray | null;
}

export interface SgdSettings {
  learningRate: number;
  /** In [0, 1); 0 is plain gradient descent. */
  momentum: number;
  /** Decoupled: the weight shrinks by learningRate * weightDecay, and the momentum never sees it. */
  weightDecay: number;
  /** Multiplies the gradient first (clipping by norm, averaging of micro-batches). */
  gradientScale: number;
  /** Decays a weight only where its update does not move it away from zero. Default false. */
  cautious?: boolean;
}

const kernel = defineKernel({
  name: "sgd_step",
  // `buffer` may be null.
  buffers: { weight: "f32", gradient: "f32", buffer: "f32" },
  params: ["n", "decay", "learningRate", "momentum", "gradientScale", "cautious"],
  sizes: { weight: ["n"], gradient: ["n"], buffer: ["n"] },
  reference: (a, p) => sgdReference(a.weight, a.gradient, a.buffer, p),
});

/**
 * Updates weight and momentum in one pass over memory.
 *
 * @throws ShapeError if the arrays differ in size; UsageError for a momentum outside [0, 1), or one without its array
 */
export function sgdStep(cx: OpContext, arrays: SgdArrays, settings: SgdSettings): void {
  const { learningRate, momentum, weightDecay, gradientScale, cautious = false } = settings;
  const n = sizeOf(arrays.weight.shape);
  for (const name of ["gradient", "momentum"] as const) {
    const array = arrays[name];
    if (array && sizeOf(array.shape) !== n)
      throw new ShapeError(`sgd: weight is [${arrays.weight.shape}], ${name} is [${array.shape}]`);
  }
  if (!(momentum >= 0 && momentum < 1))
    throw new UsageError(`sgd: momentum is ${momentum}; expected 0 <= momentum < 1`);
  if (momentum !== 0 && !arrays.momentum) throw new UsageError(`sgd: momentum is ${momentum} but its array is null`);
  cx.backend.launch(
    kernel,
    { weight: arrays.weight, gradient: arrays.gradient, buffer: arrays.momentum },
    { n, decay: 1 - learningRate * weightDecay, learningRate, momentum, gradientScale, cautious: cautious ? 1 : 0 },
  );
}
