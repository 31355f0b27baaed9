/**
 * The AdamW step over moments of eight bits: its contract and kernel. Not taped; the definition and the meaning of the
 * codes are in reference.ts. Called by train/.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type AdamwSettings, adamwParams, adamwScalars } from "../adamw/index.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { adamw8bitReference, signedZero, stateBlock } from "./reference.ts";

/** The step changes all but the gradient. */
export interface Adamw8bitArrays {
  /** Float32, n values, as the gradient. */
  weight: NDArray;
  gradient: NDArray;
  /** Codes of the moments, u8, n each: see `emptyCodes`. */
  m: NDArray;
  v: NDArray;
  /** A float32 scale for each block of 256 codes; zero before step 1. */
  mScale: NDArray;
  vScale: NDArray;
}

/** Codes of moments that are zero. */
export const emptyCodes = {
  m: (n: number) => new Uint8Array(n).fill(signedZero),
  v: (n: number) => new Uint8Array(n),
};

/** Blocks of n values, the last of which may be short: the length of the scales. */
export const blocksOf = (n: number): number => Math.ceil(n / stateBlock);

const kernel = defineKernel({
  name: "adamw_8bit_step",
  buffers: { weight: "f32", gradient: "f32", m: "u8", v: "u8", mScale: "f32", vScale: "f32" },
  params: adamwParams,
  reference: (a, p) => adamw8bitReference(a, p),
});

/**
 * Updates weights, codes and scales in one pass over memory; the same bits with any number of threads.
 *
 * @throws ShapeError for arrays of other sizes; UsageError for a step below 1 or a beta outside [0, 1)
 */
export function adamw8bitStep(cx: OpContext, arrays: Adamw8bitArrays, settings: AdamwSettings): void {
  const { weight } = arrays;
  const n = sizeOf(weight.shape);
  const wanted = { gradient: n, m: n, v: n, mScale: blocksOf(n), vScale: blocksOf(n) };
  for (const name of ["gradient", "m", "v", "mScale", "vScale"] as const)
    if (sizeOf(arrays[name].shape) !== wanted[name])
      throw new ShapeError(
        `adamw-8bit: weight is [${weight.shape}], ${name} is [${arrays[name].shape}]; expected ${wanted[name]} values`,
      );
  const { gradient, m, v, mScale, vScale } = arrays;
  cx.backend.launch(kernel, { weight, gradient, m, v, mScale, vScale }, adamwScalars(n, settings));
}
