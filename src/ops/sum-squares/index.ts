/** Sum of squares: its contract and kernel. Not taped; the definition is in reference.ts. Called by train/ to clip. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { sumSquaresReference } from "./reference.ts";

const kernel = defineKernel({
  name: "sum_squares",
  buffers: { x: "f32", into: "f32" },
  params: ["n", "slot"],
  sizes: { x: ["n"] },
  reference: (a, p) => sumSquaresReference(a.x, a.into, p.n, p.slot),
});

/**
 * into[slot] = sum of array². One `into` with a slot for each parameter is read back once, and shows which parameter's
 * gradient is not finite. The same for the same thread count.
 *
 * @throws ShapeError if `into` has no such slot
 */
export function sumSquares(cx: OpContext, array: NDArray, into: NDArray, slot: number): void {
  const slots = sizeOf(into.shape);
  if (!(Number.isInteger(slot) && slot >= 0 && slot < slots))
    throw new ShapeError(`sum-squares: slot is ${slot}, into is [${into.shape}]; expected a slot in 0..${slots - 1}`);
  cx.backend.launch(kernel, { x: array, into }, { n: sizeOf(array.shape), slot });
}
