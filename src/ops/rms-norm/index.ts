/** RMSNorm as an op: its contract, kernels and gradient. The definition is in reference.ts. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type BackwardContext, type Op, sizeOf } from "../op.ts";
import { rmsNormBackwardGain, rmsNormBackwardInput, rmsNormForward } from "./reference.ts";

export interface RmsNormParams {
  /** Added to the mean square, inside the root. */
  eps: number;
}

const forward = defineKernel({
  name: "rms_norm_forward",
  buffers: { x: "f32", gain: "f32", y: "f32", inverse: "f32" },
  params: ["rows", "width", "eps"],
  sizes: { x: ["rows", "width"], gain: ["width"], y: ["rows", "width"], inverse: ["rows"] },
  reference: (a, p) => rmsNormForward(a.x, a.gain, a.y, a.inverse, p.rows, p.width, p.eps),
});

/** dx and dgain may be null. */
const backward = defineKernel({
  name: "rms_norm_backward",
  buffers: { x: "f32", gain: "f32", inverse: "f32", dy: "f32", dx: "f32", dgain: "f32" },
  params: ["rows", "width", "addX", "addGain"],
  sizes: {
    x: ["rows", "width"],
    gain: ["width"],
    inverse: ["rows"],
    dy: ["rows", "width"],
    dx: ["rows", "width"],
    dgain: ["width"],
  },
  reference(a, p) {
    if (a.dx) rmsNormBackwardInput(a.x, a.gain, a.inverse, a.dy, a.dx, p.rows, p.width, p.addX);
    if (a.dgain) rmsNormBackwardGain(a.x, a.inverse, a.dy, a.dgain, p.rows, p.width, p.addGain);
  },
});

/** Fills the gradients of x, input 0, and gain, input 1, from dy, that of the normed values; `inverse` as saved. */
export function rmsNormGradients(cx: BackwardContext, x: NDArray, gain: NDArray, inverse: NDArray, dy: NDArray): void {
  const given = { x, gain, inverse, dy };
  const sizes = { rows: inverse.shape[0], width: gain.shape[0] };
  const dx = cx.gradient(0);
  // Two inputs on one memory may be one tensor, whose gradient must be filled once before it is asked for again.
  const together = x.buffer !== gain.buffer;
  if (dx && !together)
    cx.backend.launch(backward, { ...given, dx: dx.array, dgain: null }, { ...sizes, addX: dx.accumulate, addGain: 0 });
  const dgain = cx.gradient(1);
  const first = together ? dx : null;
  if (first || dgain)
    cx.backend.launch(
      backward,
      { ...given, dx: first?.array ?? null, dgain: dgain?.array ?? null },
      { ...sizes, addX: first?.accumulate ?? 0, addGain: dgain?.accumulate ?? 0 },
    );
}

/** inputs: x [..., C], gain [C]; output: y like x. */
export const rmsNorm: Op<RmsNormParams> = {
  name: "rms-norm",
  forward(cx, [x, gain], { eps }) {
    const width = x.shape[x.shape.length - 1];
    if (gain.shape.length !== 1 || gain.shape[0] !== width)
      throw new ShapeError(`rms-norm: x is [${x.shape}], gain is [${gain.shape}]; expected gain [${width}]`);
    const rows = sizeOf(x.shape) / width;
    const y = cx.create(x.shape, "f32");
    const inverse = cx.create([rows], "f32");
    cx.backend.launch(forward, { x, gain, y, inverse }, { rows, width, eps });
    return { outputs: [y], saved: [x, gain, inverse] };
  },
  backward(cx, [x, gain, inverse], [dy]) {
    if (dy) rmsNormGradients(cx, x, gain, inverse, dy);
  },
};
