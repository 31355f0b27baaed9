/** A plain linear layer: float weights, float input. */
import { matmul } from "../../ops/matmul/index.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import { add } from "../../ops/add/index.ts";
import type { LinearKind } from "./kind.ts";

export const float: LinearKind = {
  name: "float",
  takes: ({ spec }) => !spec.weights && !spec.activations,
  apply(runtime, input, layers, residual) {
    const x = input.floats(runtime);
    return floatProducts(
      runtime,
      x,
      layers.map(({ weight }) => weight.tensor),
      residual,
    );
  },
};

/** x [..., K] times each weight [N_i, K]; with a residual, the first product is added to it. */
export function floatProducts(runtime: Runtime, x: Tensor, weights: readonly Tensor[], residual?: Tensor): Tensor[] {
  const outputs = weights.map((weight) => runtime.apply(matmul, [x, weight], {}));
  return residual ? [runtime.apply(add, [residual, outputs[0]], {})] : outputs;
}
