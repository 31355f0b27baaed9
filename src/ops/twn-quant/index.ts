/** Ternary weights by a threshold (TWN), as an op. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { quantizeTwn, type TwnParams } from "./reference.ts";

export type { TwnParams } from "./reference.ts";

const forward = defineKernel({
  name: "twn_quant",
  buffers: { w: "f32", codes: "u8", scale: "f32" },
  params: ["size", "threshold", "survivors", "eps"],
  sizes: { w: ["size"], codes: ["size"] },
  reference: (a, p) => quantizeTwn(a.w, a.codes, a.scale, p),
});

/** inputs: w [N, K]; outputs: codes [N, K] u8, q + 1 in {0, 1, 2}, and scale [1], so that w ≈ scale · q. No gradient. */
export const twnQuant: Op<TwnParams> = {
  name: "twn-quant",
  forward(cx, [w], params) {
    if (w.shape.length !== 2 || w.dtype !== "f32")
      throw new ShapeError(`twn-quant: w is ${w.dtype} [${w.shape}]; expected f32 [N, K]`);
    if (!(params.threshold > 0))
      throw new UsageError(`twn-quant: threshold is ${params.threshold}; expected a number above 0`);
    const codes = cx.create(w.shape, "u8");
    const scale = cx.create([1], "f32");
    cx.backend.launch(forward, { w, codes, scale }, { size: sizeOf(w.shape), ...params });
    return { outputs: [codes, scale], saved: [] };
  },
};
