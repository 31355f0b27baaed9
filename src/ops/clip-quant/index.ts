/** Activations with a learned clip as an op: contract, kernels and gradients. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { activationEps } from "../activation-quant/index.ts";
import { type Op, sizeOf } from "../op.ts";
import { clipQuantBackward, clipQuantForward } from "./reference.ts";

const forward = defineKernel({
  name: "clip_quant_forward",
  buffers: { x: "f32", clip: "f32", y: "f32" },
  params: ["size", "levels", "lambda", "eps"],
  sizes: { x: ["size"], y: ["size"] },
  reference: clipQuantForward,
});
/** dx and dclip may be null. */
const backward = defineKernel({
  name: "clip_quant_backward",
  buffers: { x: "f32", clip: "f32", dy: "f32", dx: "f32", dclip: "f32" },
  params: ["size", "lambda", "eps", "addX", "addClip"],
  sizes: { x: ["size"], dy: ["size"], dx: ["size"] },
  reference: clipQuantBackward,
});

/**
 * inputs: x [..., K] and the clip [1]; output: y like x, x + lambda · (Q(x) - x).
 *
 * @param levels L: the codes are -L to L
 */
export const clipQuant = (levels: number): Op<{ lambda: number }> => ({
  name: `clip-quant-${levels}`,
  forward(cx, [x, clip], { lambda }) {
    if (!(lambda >= 0 && lambda <= 1)) throw new UsageError(`clip-quant: lambda is ${lambda}; expected 0 to 1`);
    if (x.dtype !== "f32" || clip?.dtype !== "f32" || sizeOf(clip.shape) !== 1)
      throw new ShapeError(
        `clip-quant: x is ${x.dtype} [${x.shape}], its clip ${clip?.dtype} [${clip?.shape}]; expected f32, and one clip`,
      );
    const y = cx.create(x.shape, "f32");
    cx.backend.launch(forward, { x, clip, y }, { size: sizeOf(x.shape), levels, lambda, eps: activationEps });
    return { outputs: [y], saved: [x, clip] };
  },
  backward(cx, [x, clip], [dy], { lambda }) {
    if (!dy) return;
    const [dx, dclip] = [cx.gradient(0), cx.gradient(1)];
    if (!dx && !dclip) return;
    cx.backend.launch(
      backward,
      { x, clip, dy, dx: dx?.array ?? null, dclip: dclip?.array ?? null },
      {
        ...{ size: sizeOf(x.shape), lambda, eps: activationEps },
        ...{ addX: dx?.accumulate ?? 0, addClip: dclip?.accumulate ?? 0 },
      },
    );
  },
});
