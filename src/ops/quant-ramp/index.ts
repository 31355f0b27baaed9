/**
 * Progressive quantization as ops: what a layer's input and weights count for while lambda rises to 1, where they are
 * quantized whole. Their gradient is straight-through: the output's, as it is. The definition is in reference.ts.
 */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { activationEps, activationQuant, int4Levels, int8Levels } from "../activation-quant/index.ts";
import { type Op, sizeOf } from "../op.ts";
import {
  rampActivations as activationsReference,
  rampValues as valuesReference,
  rampWeights as weightsReference,
} from "./reference.ts";

export interface QuantRampParams {
  /** From 0, nothing is quantised, to 1, all is. */
  lambda: number;
}

const activations = defineKernel({
  name: "quant_ramp_activations",
  buffers: { x: "f32", codes: "i8", scale: "f32", y: "f32" },
  params: ["rows", "width", "lambda"],
  sizes: { x: ["rows", "width"], codes: ["rows", "width"], y: ["rows", "width"] },
  reference: (a, p) => activationsReference(a.x, a.codes, a.scale, a.y, p),
});

const weights = defineKernel({
  name: "quant_ramp_weights",
  buffers: { w: "f32", codes: "u8", scale: "f32", y: "f32" },
  params: ["size", "lambda"],
  sizes: { w: ["size"], codes: ["size"], y: ["size"] },
  reference: (a, p) => weightsReference(a.w, a.codes, a.scale, a.y, p),
});

const values = defineKernel({
  name: "quant_ramp_values",
  buffers: { w: "f32", values: "f32", y: "f32" },
  params: ["size", "lambda"],
  reference: (a, p) => valuesReference(a.w, a.values, a.y, p),
});

function checkLambda(lambda: number): void {
  if (!(lambda >= 0 && lambda <= 1)) throw new UsageError(`quant-ramp: lambda is ${lambda}; expected 0 to 1`);
}

/** inputs: x [..., K]; output: y like it, x + lambda · (dequantised x - x), the codes within ±levels. */
const rampOf = (name: string, levels: number): Op<QuantRampParams> => ({
  name,
  forward(cx, [x], { lambda }) {
    checkLambda(lambda);
    const [codes, scale] = activationQuant.forward(cx, [x], { eps: activationEps, levels }).outputs;
    const y = cx.create(x.shape, "f32");
    const width = x.shape[x.shape.length - 1];
    cx.backend.launch(activations, { x, codes, scale, y }, { rows: sizeOf(x.shape) / width, width, lambda });
    return { outputs: [y], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (dy) cx.pass(0, dy);
  },
});

export const rampActivations = rampOf("quant-ramp-activations", int8Levels);
export const rampActivations4 = rampOf("quant-ramp-activations-4", int4Levels);

/** inputs: w [N, K], its codes u8 [N, K] and scale [1] from ops/weight-quant; output: y [N, K]. The gradient is w's. */
export const rampWeights: Op<QuantRampParams> = {
  name: "quant-ramp-weights",
  forward(cx, [w, codes, scale], { lambda }) {
    checkLambda(lambda);
    if (String(codes.shape) !== String(w.shape) || codes.dtype !== "u8" || sizeOf(scale.shape) !== 1)
      throw new ShapeError(
        `quant-ramp: w is [${w.shape}], its codes ${codes.dtype} [${codes.shape}], its scale [${scale.shape}]; expected u8 codes of w's shape, and one scale`,
      );
    const y = cx.create(w.shape, "f32");
    cx.backend.launch(weights, { w, codes, scale, y }, { size: sizeOf(w.shape), lambda });
    return { outputs: [y], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (dy) cx.pass(0, dy);
  },
};

/** inputs: w [N, K] and its quantized values like it; output: y [N, K]. The gradient is w's. */
export const rampValues: Op<QuantRampParams> = {
  name: "quant-ramp-values",
  forward(cx, [w, quantized], { lambda }) {
    checkLambda(lambda);
    if (String(quantized.shape) !== String(w.shape) || quantized.dtype !== "f32")
      throw new ShapeError(
        `quant-ramp: w is [${w.shape}], its quantized values ${quantized.dtype} [${quantized.shape}]; expected f32 of w's shape`,
      );
    const y = cx.create(w.shape, "f32");
    cx.backend.launch(values, { w, values: quantized, y }, { size: sizeOf(w.shape), lambda });
    return { outputs: [y], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (dy) cx.pass(0, dy);
  },
};
