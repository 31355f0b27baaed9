/** The AdamW step: its contract and kernel. Not taped; the definition is in reference.ts. Called by train/. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { type AdamwScalars, adamwReference } from "./reference.ts";

/** Float32 arrays of one shape. The step changes all but the gradient. */
export interface AdamwArrays {
  weight: NDArray;
  gradient: NDArray;
  /** First moment; zero before step 1. */
  m: NDArray;
  /** Second moment; zero before step 1. */
  v: NDArray;
}

export interface AdamwSettings {
  learningRate: number;
  /** In [0, 1). */
  beta1: number;
  /** In [0, 1). */
  beta2: number;
  eps: number;
  /** Decoupled: the weight shrinks by learningRate * weightDecay, whatever the gradient. */
  weightDecay: number;
  /** Number of this step, from 1: it corrects the moments' bias. */
  step: number;
  /** Multiplies the gradient first (clipping by norm, averaging of micro-batches). */
  gradientScale: number;
  /** Decays a weight only where its update does not move it away from zero. Default false. */
  cautious?: boolean;
}

/** In the order in which native/adamw.h reads them. */
export const adamwParams = [
  "n",
  "decay",
  "beta1",
  "beta2",
  "eps",
  "stepSize",
  "rootScale",
  "gradientScale",
  "cautious",
] as const satisfies (keyof AdamwScalars)[];

const kernel = defineKernel({
  name: "adamw_step",
  buffers: { weight: "f32", gradient: "f32", m: "f32", v: "f32" },
  params: adamwParams,
  sizes: { weight: ["n"], gradient: ["n"], m: ["n"], v: ["n"] },
  reference: (a, p) => adamwReference(a.weight, a.gradient, a.m, a.v, p),
});

/**
 * Updates weight, m and v in one pass over memory.
 *
 * @throws ShapeError if the four arrays differ in size; UsageError for a step below 1 or a beta outside [0, 1)
 */
export function adamwStep(cx: OpContext, arrays: AdamwArrays, settings: AdamwSettings): void {
  const n = sizeOf(arrays.weight.shape);
  for (const name of ["gradient", "m", "v"] as const)
    if (sizeOf(arrays[name].shape) !== n)
      throw new ShapeError(`adamw: weight is [${arrays.weight.shape}], ${name} is [${arrays[name].shape}]`);
  cx.backend.launch(
    kernel,
    { weight: arrays.weight, gradient: arrays.gradient, m: arrays.m, v: arrays.v },
    adamwScalars(n, settings),
  );
}

/** The kernel's numbers. @throws UsageError for a step below 1 or a beta outside [0, 1) */
export function adamwScalars(
  n: number,
  { learningRate, beta1, beta2, eps, weightDecay, step, gradientScale, cautious = false }: AdamwSettings,
): AdamwScalars {
  if (!(Number.isInteger(step) && step >= 1)) throw new UsageError(`adamw: step is ${step}; expected 1, 2, 3, ...`);
  for (const [name, beta] of Object.entries({ beta1, beta2 }))
    if (!(beta >= 0 && beta < 1)) throw new UsageError(`adamw: ${name} is ${beta}; expected 0 <= ${name} < 1`);
  return {
    n,
    decay: 1 - learningRate * weightDecay,
    beta1,
    beta2,
    eps,
    stepSize: learningRate / (1 - beta1 ** step),
    rootScale: 1 / Math.sqrt(1 - beta2 ** step),
    gradientScale,
    cautious: cautious ? 1 : 0,
  };
}
