/**
 * Checks an op's gradient against a central finite difference of the reference backend's forward: for a fixed random
 * weighting of the outputs, d(sum(weight * output)) / d(input). For true gradients only; a straight-through gradient is
 * held to its definition instead.
 */
import { createReferenceBackend } from "../../src/backends/reference.ts";
import type { Op } from "../../src/ops/op.ts";
import { fetchArray, place, runOp } from "./backends.ts";
import { expectClose } from "./expect-close.ts";
import { normals } from "./random.ts";

export interface CheckedInput {
  shape: readonly number[];
  data: ArrayLike<number>;
  /** false (and i32 inputs) for one that has no gradient. */
  differentiable?: boolean;
  dtype?: "f32" | "i32";
}

export async function checkGradients<P>(
  op: Op<P>,
  params: P,
  inputs: readonly CheckedInput[],
  // The forward is float32: the difference quotient's error is about 1e-7 / step from rounding plus step² from curvature.
  { step = 1e-2, abs = 2e-3, rel = 2e-3 } = {},
): Promise<void> {
  const backend = createReferenceBackend();
  const arrays = (changed = -1, at = 0, by = 0) =>
    inputs.map((input, i) => {
      const data = Float32Array.from(input.data);
      if (i === changed) data[at] += by;
      return place(backend, input.shape, input.dtype ?? "f32", data);
    });
  const first = runOp(backend, op, arrays(), params);
  const weights = first.outputs.map((o, i) =>
    normals(
      o.shape.reduce((a, b) => a * b, 1),
      900 + i,
    ),
  );
  const objective = async (changed: number, at: number, by: number) => {
    const { outputs } = runOp(backend, op, arrays(changed, at, by), params);
    let sum = 0;
    for (const [i, output] of outputs.entries()) {
      const values = await fetchArray(backend, output);
      for (let k = 0; k < values.length; k++) sum += values[k] * weights[i][k];
    }
    return sum;
  };
  const wanted = inputs.map((input) => input.differentiable !== false && input.dtype !== "i32");
  const { gradients } = runOp(backend, op, arrays(), params, {
    outputGradients: first.outputs.map((o, i) => place(backend, o.shape, "f32", weights[i])),
    wanted,
  });
  for (const [i, input] of inputs.entries()) {
    if (!wanted[i]) continue;
    const numeric = new Float32Array(input.data.length);
    for (let k = 0; k < numeric.length; k++)
      numeric[k] = ((await objective(i, k, step)) - (await objective(i, k, -step))) / (2 * step);
    expectClose(await fetchArray(backend, gradients[i]!), numeric, { abs, rel }, `${op.name}: gradient of input ${i}`);
  }
}
