/** Quantization of weights to 4 bits in blocks of 32 columns, as the float32 values. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { int4BlockSize, quantizeInt4Blocks } from "./reference.ts";

export { int4BlockSize } from "./reference.ts";

const forward = defineKernel({
  name: "int4_blocks",
  buffers: { w: "f32", y: "f32" },
  params: ["size"],
  sizes: { w: ["size"], y: ["size"] },
  reference: (a, p) => quantizeInt4Blocks(a.w, a.y, p),
});

/** inputs: w [N, K], K a multiple of 32; output: its values on the grid, like it. No gradient: see ops/straight-through. */
export const int4Blocks: Op = {
  name: "int4-blocks",
  forward(cx, [w]) {
    if (w.shape.length !== 2 || w.dtype !== "f32" || w.shape[1] % int4BlockSize !== 0)
      throw new ShapeError(
        `int4-blocks: w is ${w.dtype} [${w.shape}]; expected f32 [N, K] with K a multiple of ${int4BlockSize}`,
      );
    const y = cx.create(w.shape, "f32");
    cx.backend.launch(forward, { w, y }, { size: sizeOf(w.shape) });
    return { outputs: [y], saved: [] };
  },
};
