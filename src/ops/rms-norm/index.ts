/** RMSNorm as an op: its contract, kernels and gradient. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { rmsNormBackwardGain, rmsNormBackwardInput, rmsNormForward } from "./reference.ts";

export interface RmsNormParams {
  /** Added to the mean square, inside the root. */
  eps: number;
}

const forward = defineKernel({
  name: "rms_norm_forward",
  buffers: { x: "f32", gain: "f32", y: "f32", inverse: "f32" },
  params: ["rows", "width", "eps"],
  reference: (a, p) => rmsNormForward(a.x, a.gain, a.y, a.inverse, p.rows, p.width, p.eps),
});

const backwardInput = defineKernel({
  name: "rms_norm_backward_input",
  buffers: { x: "f32", gain: "f32", inverse: "f32", dy: "f32", dx: "f32" },
  params: ["rows", "width", "accumulate"],
  reference: (a, p) => rmsNormBackwardInput(a.x, a.gain, a.inverse, a.dy, a.dx, p.rows, p.width, p.accumulate),
});

const backwardGain = defineKernel({
  name: "rms_norm_backward_gain",
  buffers: { x: "f32", inverse: "f32", dy: "f32", dgain: "f32" },
  params: ["rows", "width", "accumulate"],
  reference: (a, p) => rmsNormBackwardGain(a.x, a.inverse, a.dy, a.dgain, p.rows, p.width, p.accumulate),
});

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
    if (!dy) return;
    const width = gain.shape[0];
    const rows = inverse.shape[0];
    const dx = cx.gradient(0);
    if (dx)
      cx.backend.launch(
        backwardInput,
        { x, gain, inverse, dy, dx: dx.array },
        { rows, width, accumulate: dx.accumulate },
      );
    const dgain = cx.gradient(1);
    if (dgain)
      cx.backend.launch(
        backwardGain,
        { x, inverse, dy, dgain: dgain.array },
        { rows, width, accumulate: dgain.accumulate },
      );
  },
};
