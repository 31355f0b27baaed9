/** Clipping of latent weights: its contract and kernel. Not taped; the definition is in reference.ts. Called by train/. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { UsageError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { latentClipReference } from "./reference.ts";

const kernel = defineKernel({
  name: "latent_clip",
  buffers: { weight: "f32" },
  params: ["n", "limit"],
  sizes: { weight: ["n"] },
  reference: (a, p) => latentClipReference(a.weight, p.n, p.limit),
});

/**
 * weight = clip(weight, ±limit · mean|weight|).
 *
 * @param weight float32 of any shape; changed
 * @throws UsageError for a limit that is not a number above 0
 */
export function latentClip(cx: Pick<OpContext, "backend">, weight: NDArray, limit: number): void {
  if (!(Number.isFinite(limit) && limit > 0))
    throw new UsageError(`latent-clip: limit is ${limit}; expected a number above 0`);
  cx.backend.launch(kernel, { weight }, { n: sizeOf(weight.shape), limit });
}
