/** int8 quantisation of rows of activations as an op, with a straight-through gradient. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { int8Levels, quantizeActivations } from "./reference.ts";

export { int4Levels, int8Levels } from "./reference.ts";

/** The least that a row's largest magnitude counts for; the same in the paper, the authors' code and every published checkpoint. */
export const activationEps = 1e-5;

export interface ActivationQuantParams {
  /** The least that a row's largest magnitude counts for. */
  eps: number;
  /** L: the largest code, an integer up to 127. Default: 127. */
  levels?: number;
}

const forward = defineKernel({
  name: "activation_quant",
  buffers: { x: "f32", codes: "i8", scale: "f32", sums: "i32" },
  params: ["rows", "width", "eps", "levels"],
  sizes: { x: ["rows", "width"], codes: ["rows", "width"], scale: ["rows"], sums: ["rows"] },
  reference: (a, p) => quantizeActivations(a.x, a.codes, a.scale, a.sums, p.rows, p.width, p.eps, p.levels),
});

/**
 * inputs: x [..., K], of M rows; outputs: codes i8 like x, scale [M], so that x ≈ code · scale, and sums i32 [M] of the
 * codes. The gradient of the codes is that of the reals they stand for, and goes to x as it is, also where codes clip.
 */
export const activationQuant: Op<ActivationQuantParams> = {
  name: "activation-quant",
  forward(cx, [x], { eps, levels = int8Levels }) {
    if (!(Number.isInteger(levels) && levels >= 1 && levels <= int8Levels))
      throw new UsageError(`activation-quant: levels is ${levels}; expected an integer from 1 to ${int8Levels}`);
    if (x.shape.length === 0 || x.dtype !== "f32")
      throw new ShapeError(`activation-quant: x is ${x.dtype} [${x.shape}]; expected f32 [..., K]`);
    const width = x.shape[x.shape.length - 1];
    const rows = sizeOf(x.shape) / width;
    const codes = cx.create(x.shape, "i8");
    const scale = cx.create([rows], "f32");
    const sums = cx.create([rows], "i32");
    cx.backend.launch(forward, { x, codes, scale, sums }, { rows, width, eps, levels });
    return { outputs: [codes, scale, sums], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (dy) cx.pass(0, dy);
  },
};
