/** z-loss as an op: contract, kernels and gradient. The definition is in reference.ts. Called by train/objectives. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { zLossBackward, zLossForward } from "./reference.ts";

const forward = defineKernel({
  name: "z_loss_forward",
  buffers: { logits: "f32", targets: "i32", stats: "f32", rowLoss: "f32", loss: "f32" },
  params: ["rows", "classes"],
  reference: (a, p) => zLossForward(a, p.rows, p.classes),
});

const backward = defineKernel({
  name: "z_loss_backward",
  buffers: { logits: "f32", targets: "i32", stats: "f32", dloss: "f32", dlogits: "f32" },
  params: ["rows", "classes", "accumulate"],
  reference: (a, p) => zLossBackward(a, p.rows, p.classes, p.accumulate),
});

/**
 * inputs: logits [..., V] f32, targets [...] i32 (-100: not counted); output: loss [1], the mean of
 * log(sum of e^logits)² over the counted rows (NaN where none is). The logits are not changed.
 */
export const zLoss: Op = {
  name: "z-loss",
  forward(cx, [logits, targets]) {
    const lead = logits.shape.slice(0, -1);
    const classes = logits.shape[logits.shape.length - 1];
    if (logits.shape.length < 2 || targets.dtype !== "i32" || targets.shape.join() !== lead.join() || classes < 1)
      throw new ShapeError(
        `z-loss: logits are [${logits.shape}], targets are ${targets.dtype} [${targets.shape}]; expected logits [..., V] and targets i32 [${lead}]`,
      );
    const rows = sizeOf(lead);
    const loss = cx.create([1], "f32");
    const stats = cx.create([rows, 2], "f32");
    const rowLoss = cx.create([rows], "f32");
    cx.backend.launch(forward, { logits, targets, stats, rowLoss, loss }, { rows, classes });
    return { outputs: [loss], saved: [logits, targets, stats] };
  },
  backward(cx, [logits, targets, stats], [dloss]) {
    const dlogits = dloss && cx.gradient(0);
    if (!dloss || !dlogits) return;
    cx.backend.launch(
      backward,
      { logits, targets, stats, dloss, dlogits: dlogits.array },
      {
        rows: sizeOf(targets.shape),
        classes: logits.shape[logits.shape.length - 1],
        accumulate: dlogits.accumulate,
      },
    );
  },
};
