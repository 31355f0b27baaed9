/**
 * Weights rounded to 2 to 8 bits, a scale for each row, with a straight-through gradient: the stages of
 * `train.progressive.kind: bits`. The definition is in reference.ts.
 */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import type { Op } from "../op.ts";
import { quantizeRows } from "./reference.ts";

export interface RowQuantParams {
  /** b: 2^b - 1 levels. */
  bits: number;
}

const forward = defineKernel({
  name: "row_quant",
  buffers: { w: "f32", y: "f32" },
  params: ["rows", "width", "bits"],
  sizes: { w: ["rows", "width"], y: ["rows", "width"] },
  reference: (a, p) => quantizeRows(a.w, a.y, p),
});

/** inputs: w [N, K]; output: its rounded values like it, whose gradient is w's. */
export const rowQuant: Op<RowQuantParams> = {
  name: "row-quant",
  forward(cx, [w], { bits }) {
    if (!(Number.isInteger(bits) && bits >= 2 && bits <= 8))
      throw new UsageError(`row-quant: bits is ${bits}; expected 2 to 8`);
    if (w.shape.length !== 2 || w.dtype !== "f32")
      throw new ShapeError(`row-quant: w is ${w.dtype} [${w.shape}]; expected f32 [N, K]`);
    const [rows, width] = w.shape;
    const y = cx.create(w.shape, "f32");
    cx.backend.launch(forward, { w, y }, { rows, width, bits });
    return { outputs: [y], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (dy) cx.pass(0, dy);
  },
};
