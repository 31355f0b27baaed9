/** The clipped straight-through estimator as an op: forward w itself, an alias. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { clippedBackward } from "./reference.ts";

export interface ClippedParams {
  /** c: weights get a gradient up to |w| = c · s. */
  limit: number;
}

const backward = defineKernel({
  name: "clipped_estimator_backward",
  buffers: { w: "f32", scale: "f32", dy: "f32", dw: "f32" },
  params: ["size", "limit", "accumulate"],
  reference: (a, p) => clippedBackward(a.w, a.scale, a.dy, a.dw, p),
});

/** inputs: w [N, K], its codes and their scale [1]; output: w, whose gradient is masked on its way to w's. */
export const clippedEstimator: Op<ClippedParams> = {
  name: "clipped-estimator",
  forward(_cx, [w, _codes, scale], { limit }) {
    if (!(limit > 0)) throw new UsageError(`clipped-estimator: limit is ${limit}; expected a number above 0`);
    if (w.dtype !== "f32" || sizeOf(scale.shape) !== 1)
      throw new ShapeError(
        `clipped-estimator: w is ${w.dtype} [${w.shape}], its scale [${scale.shape}]; expected f32 and one scale`,
      );
    return { outputs: [w], saved: [w, scale] };
  },
  backward(cx, [w, scale], [dy], { limit }) {
    const target = dy && cx.gradient(0);
    if (!target) return;
    const { array: dw, accumulate } = target;
    cx.backend.launch(backward, { w, scale, dy, dw }, { size: sizeOf(w.shape), limit, accumulate });
  },
};
