/**
 * RMSNorm with int8 codes as its output, as an op: what a BitLinear layer reads, without the normed activations in
 * memory. The definition is in reference.ts; the gradient is straight-through, so it is RMSNorm's.
 */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { activationEps } from "../activation-quant/index.ts";
import { type Op, sizeOf } from "../op.ts";
import { type RmsNormParams, rmsNormGradients } from "../rms-norm/index.ts";
import { normQuantForward } from "./reference.ts";

const forward = defineKernel({
  name: "norm_quant",
  buffers: { x: "f32", gain: "f32", codes: "i8", scale: "f32", sums: "i32", inverse: "f32" },
  params: ["rows", "width", "eps", "quantEps"],
  sizes: {
    x: ["rows", "width"],
    gain: ["width"],
    codes: ["rows", "width"],
    scale: ["rows"],
    sums: ["rows"],
    inverse: ["rows"],
  },
  reference: (a, p) => normQuantForward(a, p.rows, p.width, p.eps, p.quantEps),
});

/**
 * inputs: x [..., K], of M rows, gain [K]; outputs: codes i8 like x, scale [M] and sums i32 [M] of the normed rows, as
 * ops/activation-quant gives them. The gradient of the codes is that of the reals they stand for.
 */
export const normQuant: Op<RmsNormParams> = {
  name: "norm-quant",
  forward(cx, [x, gain], { eps }) {
    const width = x.shape[x.shape.length - 1];
    if (gain.shape.length !== 1 || gain.shape[0] !== width)
      throw new ShapeError(`norm-quant: x is [${x.shape}], gain is [${gain.shape}]; expected gain [${width}]`);
    const rows = sizeOf(x.shape) / width;
    const codes = cx.create(x.shape, "i8");
    const scale = cx.create([rows], "f32");
    const sums = cx.create([rows], "i32");
    const inverse = cx.create([rows], "f32");
    cx.backend.launch(forward, { x, gain, codes, scale, sums, inverse }, { rows, width, eps, quantEps: activationEps });
    return { outputs: [codes, scale, sums], saved: [x, gain, inverse] };
  },
  backward(cx, [x, gain, inverse], [dy]) {
    if (dy) rmsNormGradients(cx, x, gain, inverse, dy);
  },
};
