/** Ternary quantisation of a weight matrix as an op. The definition is in reference.ts; the gradient in ops/bit-linear. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { quantizeWeights, type ScaleRule } from "./reference.ts";

export type { ScaleRule } from "./reference.ts";

export interface WeightQuantParams {
  /** How the scale is made of mean|w| and eps: their sum, or the larger. */
  rule: ScaleRule;
  eps: number;
}

const rules: readonly ScaleRule[] = ["add", "clamp"];

const forward = defineKernel({
  name: "weight_quant",
  buffers: { w: "f32", codes: "u8", scale: "f32" },
  params: ["size", "rule", "eps"],
  sizes: { w: ["size"], codes: ["size"] },
  reference: (a, p) => quantizeWeights(a.w, a.codes, a.scale, rules[p.rule], p.eps),
});

/** inputs: w [N, K]; outputs: codes [N, K] u8, q + 1 in {0, 1, 2}, and scale [1], so that w ≈ scale · q. No gradient. */
export const weightQuant: Op<WeightQuantParams> = {
  name: "weight-quant",
  forward(cx, [w], { rule, eps }) {
    if (w.shape.length !== 2 || w.dtype !== "f32")
      throw new ShapeError(`weight-quant: w is ${w.dtype} [${w.shape}]; expected f32 [N, K]`);
    const codes = cx.create(w.shape, "u8");
    const scale = cx.create([1], "f32");
    cx.backend.launch(forward, { w, codes, scale }, { size: sizeOf(w.shape), rule: rules.indexOf(rule), eps });
    return { outputs: [codes, scale], saved: [] };
  },
};
