/** Activations rounded to int8 with one fixed scale, as an op with a clipped straight-through gradient. See reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { staticQuant as forwardReference, staticQuantBackward } from "./reference.ts";

export interface StaticQuantParams {
  /** s: x ≈ s · code. */
  scale: number;
  /** From 0, nothing is quantized, to 1, all is. */
  lambda: number;
}

const forward = defineKernel({
  name: "static_quant",
  buffers: { x: "f32", y: "f32" },
  params: ["size", "scale", "lambda"],
  sizes: { x: ["size"], y: ["size"] },
  reference: (a, p) => forwardReference(a.x, a.y, p),
});

const backward = defineKernel({
  name: "static_quant_backward",
  buffers: { x: "f32", dy: "f32", dx: "f32" },
  params: ["size", "scale", "lambda", "accumulate"],
  sizes: { x: ["size"], dy: ["size"], dx: ["size"] },
  reference: (a, p) => staticQuantBackward(a.x, a.dy, a.dx, p),
});

/** inputs: x, of any shape; output: y like it. No gradient passes where a value is beyond the largest level. */
export const staticQuant: Op<StaticQuantParams> = {
  name: "static-quant",
  forward(cx, [x], { scale, lambda }) {
    if (!(scale > 0 && Number.isFinite(scale)))
      throw new UsageError(`static-quant: scale is ${scale}; expected a finite number above 0`);
    if (!(lambda >= 0 && lambda <= 1)) throw new UsageError(`static-quant: lambda is ${lambda}; expected 0 to 1`);
    if (x.dtype !== "f32") throw new ShapeError(`static-quant: x is ${x.dtype} [${x.shape}]; expected f32`);
    const y = cx.create(x.shape, "f32");
    cx.backend.launch(forward, { x, y }, { size: sizeOf(x.shape), scale, lambda });
    return { outputs: [y], saved: [x] };
  },
  backward(cx, [x], [dy], { scale, lambda }) {
    const target = dy && cx.gradient(0);
    if (!target) return;
    const { array: dx, accumulate } = target;
    cx.backend.launch(backward, { x, dy, dx }, { size: sizeOf(x.shape), scale, lambda, accumulate });
  },
};
