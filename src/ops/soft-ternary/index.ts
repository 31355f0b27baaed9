/**
 * Soft ternary weights with an exact gradient: what layers multiply by under `train.progressive.kind: annealed`. The definition
 * is in reference.ts.
 */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { softTernaryBackward, softTernaryForward } from "./reference.ts";

export interface SoftTernaryParams {
  /** tau, in units of the squared scale. */
  temperature: number;
  /** From 0, the weights as they are, to 1, the soft ones. */
  lambda: number;
  /** The scale is the mean of |w|, and the gradient goes through it too; else the scale counts as a constant. */
  throughScale: boolean;
}

const forward = defineKernel({
  name: "soft_ternary_forward",
  buffers: { w: "f32", scale: "f32", y: "f32" },
  params: ["size", "temperature", "lambda"],
  sizes: { w: ["size"], y: ["size"] },
  reference: (a, p) => softTernaryForward(a.w, a.scale, a.y, p),
});

const backward = defineKernel({
  name: "soft_ternary_backward",
  buffers: { w: "f32", scale: "f32", dy: "f32", dw: "f32" },
  params: ["size", "temperature", "lambda", "throughScale", "accumulate"],
  sizes: { w: ["size"], dy: ["size"], dw: ["size"] },
  reference: (a, p) => softTernaryBackward(a.w, a.scale, a.dy, a.dw, p),
});

/** 1 / tau and 4 |w| / s / tau must stay finite in float32. */
const smallestTemperature = 1e-30;

/** inputs: w [N, K] and the scale [1] of its ternary form; output: y [N, K]. The gradient is w's. */
export const softTernary: Op<SoftTernaryParams> = {
  name: "soft-ternary",
  forward(cx, [w, scale], { temperature, lambda }) {
    if (!(temperature > 0 && Number.isFinite(temperature)))
      throw new UsageError(`soft-ternary: temperature is ${temperature}; expected a number above 0`);
    if (!(lambda >= 0 && lambda <= 1)) throw new UsageError(`soft-ternary: lambda is ${lambda}; expected 0 to 1`);
    if (w.dtype !== "f32" || scale.dtype !== "f32" || sizeOf(scale.shape) !== 1)
      throw new ShapeError(
        `soft-ternary: w is ${w.dtype} [${w.shape}], its scale ${scale.dtype} [${scale.shape}]; expected f32 and one scale`,
      );
    const y = cx.create(w.shape, "f32");
    const size = sizeOf(w.shape);
    cx.backend.launch(forward, { w, scale, y }, { size, temperature: floored(temperature), lambda });
    return { outputs: [y], saved: [w, scale] };
  },
  backward(cx, [w, scale], [dy], { temperature, lambda, throughScale }) {
    const target = dy && cx.gradient(0);
    if (!target) return;
    const { array: dw, accumulate } = target;
    const size = sizeOf(w.shape);
    const numbers = { size, temperature: floored(temperature), lambda, throughScale: throughScale ? 1 : 0, accumulate };
    cx.backend.launch(backward, { w, scale, dy, dw }, numbers);
  },
};

const floored = (temperature: number) => Math.max(temperature, smallestTemperature);
