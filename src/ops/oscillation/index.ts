/** Tracking and fixing of oscillating weights: contract and kernels. Not taped; the definition is in reference.ts. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { oscillationReference, oscillationStartReference } from "./reference.ts";

/** Numbers in one slot: codes that changed, codes that oscillated, weights that are fixed. */
export const oscillationCounts = 3;

const startKernel = defineKernel({
  name: "oscillation_start",
  buffers: { codes: "u8", flags: "u8", mean: "f32" },
  params: ["n"],
  sizes: { codes: ["n"], flags: ["n"], mean: ["n"] },
  reference: (a, p) => oscillationStartReference(a.codes, a.flags, a.mean, p.n),
});

const trackKernel = defineKernel({
  name: "oscillation_track",
  buffers: { weight: "f32", codes: "u8", scale: "f32", flags: "u8", frequency: "f32", mean: "f32", into: "i32" },
  params: ["n", "momentum", "threshold", "slot"],
  sizes: { weight: ["n"], codes: ["n"], flags: ["n"], frequency: ["n"], mean: ["n"] },
  reference: (a, p) => oscillationReference(a, p),
});

/** What is kept of a matrix [N, K] between steps: nine bytes a weight. */
export interface OscillationState {
  /** u8 */
  flags: NDArray;
  /** float32; zero at the start. */
  frequency: NDArray;
  /** float32 */
  mean: NDArray;
}

function checkSizes(codes: NDArray, others: Readonly<Record<string, NDArray>>): number {
  const n = sizeOf(codes.shape);
  for (const [name, { shape }] of Object.entries(others))
    if (sizeOf(shape) !== n) throw new ShapeError(`oscillation: codes are [${codes.shape}], ${name} is [${shape}]`);
  return n;
}

/** Fills flags and mean for codes that nothing is known of yet; frequency is the caller's to zero. @throws ShapeError */
export function startOscillation(cx: Pick<OpContext, "backend">, codes: NDArray, state: OscillationState): void {
  const { flags, mean } = state;
  const n = checkSizes(codes, { flags, mean });
  cx.backend.launch(startKernel, { codes, flags, mean }, { n });
}

/**
 * One look at a matrix after an update: tracks its codes, fixes those weights whose frequency is over the threshold, and
 * writes the weights that are fixed. Counts go to `into` at slot * 3.
 *
 * @throws ShapeError for arrays of other sizes or no such slot; UsageError for a momentum outside (0, 1] or a threshold below 0
 */
export function trackOscillation(
  cx: Pick<OpContext, "backend">,
  matrix: { weight: NDArray; codes: NDArray; scale: NDArray },
  state: OscillationState,
  settings: { momentum: number; threshold: number; into: NDArray; slot: number },
): void {
  const { momentum, threshold, into, slot } = settings;
  const { weight, codes, scale } = matrix;
  const { flags, frequency, mean } = state;
  const n = checkSizes(codes, { weight, flags, frequency, mean });
  const slots = Math.floor(sizeOf(into.shape) / oscillationCounts);
  if (!(Number.isInteger(slot) && slot >= 0 && slot < slots))
    throw new ShapeError(`oscillation: slot is ${slot}, into is [${into.shape}]; expected a slot in 0..${slots - 1}`);
  if (!(momentum > 0 && momentum <= 1))
    throw new UsageError(`oscillation: momentum is ${momentum}; expected 0 < momentum <= 1`);
  if (!(threshold >= 0)) throw new UsageError(`oscillation: threshold is ${threshold}; expected a number from 0`);
  cx.backend.launch(
    trackKernel,
    { weight, codes, scale, flags, frequency, mean, into },
    { n, momentum, threshold, slot },
  );
}
