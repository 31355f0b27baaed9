/**
 * The straight-through rule as an op: forward the quantized values, backward the gradient to the weights that they were
 * made of, as it is (Bengio et al., arXiv:1308.3432). No kernel: the output is an alias.
 */
import { ShapeError } from "../../platform/errors.ts";
import type { Op } from "../op.ts";

/** inputs: w and its quantized values, of one shape; output: the values, whose gradient is w's. */
export const straightThrough: Op = {
  name: "straight-through",
  forward(_cx, [w, values]) {
    if (String(w.shape) !== String(values.shape) || values.dtype !== "f32")
      throw new ShapeError(
        `straight-through: w is [${w.shape}], its quantized values are ${values.dtype} [${values.shape}]; expected f32 of w's shape`,
      );
    return { outputs: [values], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (dy) cx.pass(0, dy);
  },
};
