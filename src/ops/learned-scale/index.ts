/**
 * Ternary weights by a learned scale, as two ops: the codes, and the gradient rule, whose forward is w itself. The definition is
 * in reference.ts.
 */
import { defineKernel } from "../../backends/backend.ts";
import type { NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { quantizeByScale, type ScaleRule, scaleGradient, weightGradient } from "./reference.ts";

export { leastScale, type ScaleRule } from "./reference.ts";

export interface LearnedScaleParams extends ScaleRule {
  /** Multiplies the scale's gradient; null: 1 / sqrt(N · K), LSQ's, by which it is of the size of a weight's. */
  gradientScale: number | null;
  /** How far the layer is quantized (progressive quantization). */
  lambda: number;
}

const forward = defineKernel({
  name: "learned_scale_quant",
  buffers: { w: "f32", a: "f32", codes: "u8", scale: "f32" },
  params: ["size", "levels"],
  sizes: { w: ["size"], codes: ["size"] },
  reference: (b, { levels }) => quantizeByScale(b.w, b.a, b.codes, b.scale, levels),
});

const weightBackward = defineKernel({
  name: "learned_scale_weight_backward",
  buffers: { w: "f32", a: "f32", g: "f32", dw: "f32" },
  params: ["size", "range", "lambda", "accumulate"],
  sizes: { w: ["size"], g: ["size"], dw: ["size"] },
  reference: (b, p) => weightGradient(b.w, b.a, b.g, b.dw, p),
});

const scaleBackward = defineKernel({
  name: "learned_scale_backward",
  buffers: { w: "f32", a: "f32", g: "f32", da: "f32" },
  params: ["size", "levels", "range", "slope", "factor", "accumulate"],
  sizes: { w: ["size"], g: ["size"] },
  reference: (b, p) => scaleGradient(b.w, b.a, b.g, b.da, p),
});

function check(name: string, w: NDArray, a: NDArray): void {
  if (w.shape.length !== 2 || w.dtype !== "f32" || sizeOf(a.shape) !== 1 || a.dtype !== "f32")
    throw new ShapeError(
      `${name}: w is ${w.dtype} [${w.shape}], its scale ${a.dtype} [${a.shape}]; expected f32 [N, K] and one f32`,
    );
}

/** inputs: w [N, K] and a [1]; outputs: codes [N, K] u8, q + 1 in {0, 1, 2}, and scale [1]. No gradient: see below. */
export const learnedScaleQuant: Op<Pick<ScaleRule, "levels">> = {
  name: "learned-scale-quant",
  forward(cx, [w, a], { levels }) {
    check("learned-scale-quant", w, a);
    const codes = cx.create(w.shape, "u8");
    const scale = cx.create([1], "f32");
    cx.backend.launch(forward, { w, a, codes, scale }, { size: sizeOf(w.shape), levels });
    return { outputs: [codes, scale], saved: [] };
  },
};

/** inputs: w [N, K], its codes and their scale [1], and a [1]; output: w itself, whose gradient is the one at Q(w). */
export const learnedScaleGradient: Op<LearnedScaleParams> = {
  name: "learned-scale-gradient",
  forward(_cx, [w, _codes, _scale, a]) {
    check("learned-scale-gradient", w, a);
    return { outputs: [w], saved: [w, a] };
  },
  backward(cx, [w, a], [g], { levels, range, slope, gradientScale, lambda }) {
    if (!g) return;
    const size = sizeOf(w.shape);
    const target = cx.gradient(3);
    if (target) {
      const factor = lambda * (gradientScale ?? 1 / Math.sqrt(size));
      const { array: da, accumulate } = target;
      cx.backend.launch(scaleBackward, { w, a, g, da }, { size, levels, range, slope, factor, accumulate });
    }
    if (range === Number.POSITIVE_INFINITY) {
      cx.pass(0, g);
      return;
    }
    const own = cx.gradient(0);
    if (own)
      cx.backend.launch(
        weightBackward,
        { w, a, g, dw: own.array },
        { size, range, lambda, accumulate: own.accumulate },
      );
  },
};
