/** The elementwise penalties as one function: of a layer's weights against its grid. The formulas are in ops/weight-penalty. */
import { type PenaltyKind, weightPenalty } from "../../ops/weight-penalty/index.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import type { TernaryLayer } from "../trainable-model.ts";

export const gridPenalty =
  (kind: PenaltyKind, limit?: number) =>
  (runtime: Runtime, layer: TernaryLayer): Tensor => {
    const { codes, scale } = layer.quantized(runtime);
    return runtime.apply(weightPenalty, [layer.weight.tensor, codes, scale], { kind, limit });
  };
