/** Mean square difference over counted positions as an op: contract, kernels and gradient. Called by train/objectives. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { maskedMseBackward, maskedMseForward } from "./reference.ts";

const forward = defineKernel({
  name: "masked_mse_forward",
  buffers: { x: "f32", y: "f32", targets: "i32", rowLoss: "f32", loss: "f32" },
  params: ["rows", "width"],
  sizes: { x: ["rows", "width"], y: ["rows", "width"], targets: ["rows"], rowLoss: ["rows"] },
  reference: (a, p) => maskedMseForward(a, p.rows, p.width),
});

const backward = defineKernel({
  name: "masked_mse_backward",
  buffers: { x: "f32", y: "f32", targets: "i32", dloss: "f32", dx: "f32" },
  params: ["rows", "width", "accumulate"],
  sizes: { x: ["rows", "width"], y: ["rows", "width"], targets: ["rows"], dx: ["rows", "width"] },
  reference: (a, p) => maskedMseBackward(a, p.rows, p.width, p.accumulate),
});

/**
 * inputs: x [..., C], targets [...] i32 (-100: not counted), y [..., C], which gets no gradient; output: loss [1], the mean
 * square difference of the counted rows.
 */
export const maskedMse: Op = {
  name: "masked-mse",
  forward(cx, [x, targets, y]) {
    const lead = x.shape.slice(0, -1);
    if (targets.dtype !== "i32" || targets.shape.join() !== lead.join() || y.shape.join() !== x.shape.join())
      throw new ShapeError(
        `masked-mse: x is [${x.shape}], y is [${y.shape}], targets are ${targets.dtype} [${targets.shape}]; expected x and y [..., C] and targets i32 [${lead}]`,
      );
    const rows = sizeOf(lead);
    const loss = cx.create([1], "f32");
    const rowLoss = cx.create([rows], "f32");
    cx.backend.launch(forward, { x, y, targets, rowLoss, loss }, { rows, width: x.shape[x.shape.length - 1] });
    return { outputs: [loss], saved: [x, targets, y] };
  },
  backward(cx, [x, targets, y], [dloss]) {
    const dx = dloss && cx.gradient(0);
    if (!dloss || !dx) return;
    cx.backend.launch(
      backward,
      { x, y, targets, dloss, dx: dx.array },
      { rows: sizeOf(targets.shape), width: x.shape[x.shape.length - 1], accumulate: dx.accumulate },
    );
  },
};
