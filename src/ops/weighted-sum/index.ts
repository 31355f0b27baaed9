/**
 * A weighted sum as an op, and `gather`, which no tape records. The definition is in reference.ts. Called by train/ to
 * add up losses and to read many small values back at once.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, type OpContext, sizeOf } from "../op.ts";
import { addScaled } from "./reference.ts";

const kernel = defineKernel({
  name: "add_scaled",
  buffers: { x: "f32", into: "f32" },
  params: ["n", "offset", "factor", "accumulate"],
  reference: (a, p) => addScaled(a.x, a.into, p),
});

export interface WeightedSumParams {
  /** One for each input, finite. */
  weights: readonly number[];
}

/** inputs: at least one array, all of one shape; output: y of that shape, the sum over i of weights[i] · inputs[i]. */
export const weightedSum: Op<WeightedSumParams> = {
  name: "weighted-sum",
  forward(cx, inputs, { weights }) {
    const [first] = inputs;
    if (inputs.length === 0 || inputs.length !== weights.length)
      throw new ShapeError(
        `weighted-sum: ${inputs.length} inputs and ${weights.length} weights; expected one for each`,
      );
    for (const weight of weights)
      if (!Number.isFinite(weight)) throw new UsageError(`weighted-sum: a weight is ${weight}; expected a number`);
    for (const { shape } of inputs)
      if (shape.join() !== first.shape.join())
        throw new ShapeError(`weighted-sum: inputs are [${first.shape}] and [${shape}]; expected one shape`);
    const y = cx.create(first.shape, "f32");
    const n = sizeOf(first.shape);
    for (const [i, x] of inputs.entries())
      cx.backend.launch(kernel, { x, into: y }, { n, offset: 0, factor: weights[i], accumulate: i === 0 ? 0 : 1 });
    return { outputs: [y], saved: [] };
  },
  backward(cx, _saved, [dy], { weights }) {
    if (!dy) return;
    const n = sizeOf(dy.shape);
    for (const [i, factor] of weights.entries()) {
      const dx = cx.gradient(i);
      if (dx) cx.backend.launch(kernel, { x: dy, into: dx.array }, { n, offset: 0, factor, accumulate: dx.accumulate });
    }
  },
};

/** Puts the arrays' values one behind another into `into`, so that one read brings all. @throws ShapeError */
export function gather(cx: OpContext, arrays: readonly NDArray[], into: NDArray): void {
  const sizes = arrays.map(({ shape }) => sizeOf(shape));
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total !== sizeOf(into.shape))
    throw new ShapeError(`gather: the arrays have ${total} values, into is [${into.shape}]; expected as many`);
  let offset = 0;
  for (const [i, x] of arrays.entries()) {
    cx.backend.launch(kernel, { x, into }, { n: sizes[i], offset, factor: 1, accumulate: 0 });
    offset += sizes[i];
  }
}
