/** Statistics of ternary codes: contract and kernels. Not taped; the definition is in reference.ts. Called by train/. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { copyBytesReference, ternaryStatsReference } from "./reference.ts";

/** Numbers in one slot: codes that are -1, that are 0, that are +1, and that changed. */
export const ternaryStatsPerSlot = 4;

const statsKernel = defineKernel({
  name: "ternary_stats",
  // `previous` may be null.
  buffers: { codes: "u8", previous: "u8", into: "i32" },
  params: ["n", "slot"],
  sizes: { codes: ["n"], previous: ["n"] },
  reference: (a, p) => ternaryStatsReference(a.codes, a.previous, a.into, p.n, p.slot),
});

const copyKernel = defineKernel({
  name: "copy_bytes",
  buffers: { into: "u8", from: "u8" },
  params: ["n"],
  sizes: { into: ["n"], from: ["n"] },
  reference: (a, p) => copyBytesReference(a.into, a.from, p.n),
});

/**
 * Writes four int32 to `into` at slot * 4: codes that are -1, 0, +1, and codes that differ from `previous` (0 where it is
 * null). One `into` with a slot for each layer is read back once.
 *
 * @param codes    [N, K] or any shape, uint8: q + 1
 * @param previous as codes, kept with `copyBytes`; or null
 * @throws ShapeError if previous has another size, or `into` has no such slot
 */
export function ternaryStats(
  cx: OpContext,
  codes: NDArray,
  previous: NDArray | null,
  into: NDArray,
  slot: number,
): void {
  const n = sizeOf(codes.shape);
  if (previous && sizeOf(previous.shape) !== n)
    throw new ShapeError(`ternary-stats: codes are [${codes.shape}], previous is [${previous.shape}]`);
  const slots = Math.floor(sizeOf(into.shape) / ternaryStatsPerSlot);
  if (!(Number.isInteger(slot) && slot >= 0 && slot < slots))
    throw new ShapeError(
      `ternary-stats: slot is ${slot}, into is [${into.shape}]; expected a slot in 0..${slots - 1} (four numbers each)`,
    );
  cx.backend.launch(statsKernel, { codes, previous, into }, { n, slot });
}

/** into = from, both uint8 of one size. @throws ShapeError */
export function copyBytes(cx: OpContext, into: NDArray, from: NDArray): void {
  const n = sizeOf(into.shape);
  if (n !== sizeOf(from.shape))
    throw new ShapeError(`copyBytes: into is [${into.shape}], from is [${from.shape}]; expected as many elements`);
  cx.backend.launch(copyKernel, { into, from }, { n });
}
