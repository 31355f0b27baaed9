/** Ternary quantization of a weight matrix by its median magnitude, as an op. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import type { ScaleRule, WeightQuantParams } from "../weight-quant/index.ts";
import { quantizeByMedian } from "./reference.ts";

const rules: readonly ScaleRule[] = ["add", "clamp"];

const forward = defineKernel({
  name: "median_quant",
  buffers: { w: "f32", codes: "u8", scale: "f32" },
  params: ["size", "rule", "eps"],
  sizes: { w: ["size"], codes: ["size"] },
  reference: (a, p) => quantizeByMedian(a.w, a.codes, a.scale, rules[p.rule], p.eps),
});

/** inputs: w [N, K]; outputs: codes [N, K] u8, q + 1 in {0, 1, 2}, and scale [1], so that w ≈ scale · q. No gradient. */
export const medianQuant: Op<WeightQuantParams> = {
  name: "median-quant",
  forward(cx, [w], { rule, eps }) {
    if (w.shape.length !== 2 || w.dtype !== "f32")
      throw new ShapeError(`median-quant: w is ${w.dtype} [${w.shape}]; expected f32 [N, K]`);
    const codes = cx.create(w.shape, "u8");
    const scale = cx.create([1], "f32");
    cx.backend.launch(forward, { w, codes, scale }, { size: sizeOf(w.shape), rule: rules.indexOf(rule), eps });
    return { outputs: [codes, scale], saved: [] };
  },
};
