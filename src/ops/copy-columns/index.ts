/**
 * Copies a matrix into columns of a wider one: of layers that read one input but multiply in different ways, each fills its
 * columns of their common output. Inference only; no gradient.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";

const kernel = defineKernel({
  name: "copy_columns",
  buffers: { from: "f32", to: "f32" },
  params: ["rows", "width", "stride", "first"],
  reference(a, { rows, width, stride, first }) {
    for (let m = 0; m < rows; m++) a.to.set(a.from.subarray(m * width, (m + 1) * width), m * stride + first);
  },
});

/** to[m, first + i] = from[m, i] for from [M, W] and to [M, S]. @throws ShapeError where the columns do not fit */
export function copyColumns(cx: OpContext, from: NDArray, to: NDArray, first: number): void {
  const [rows, width] = from.shape;
  const stride = to.shape[to.shape.length - 1];
  if (sizeOf(to.shape) !== rows * stride || first < 0 || first + width > stride || from.buffer === to.buffer)
    throw new ShapeError(
      `copy-columns: [${from.shape}] to columns from ${first} of [${to.shape}]; expected as many rows, and columns inside`,
    );
  cx.backend.launch(kernel, { from, to }, { rows, width, stride, first });
}
