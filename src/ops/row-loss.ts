/**
 * A loss over rows of logits as an op: the mean over the counted rows of something of each row, which leaves the logits as they
 * are. Contract, kernels and gradient; the formulas are in the reference.ts of z-loss and uniform-cross-entropy, which are made
 * of it. (Cross entropy has its own: it writes its gradient over the logits.)
 */
import { defineKernel } from "../backends/backend.ts";
import { ShapeError } from "../platform/errors.ts";
import { type Op, sizeOf } from "./op.ts";
import type { RowLossBackward, RowLossForward } from "./softmax-rows.ts";

export interface RowLossDefinition {
  /** "z-loss"; its kernels are z_loss_forward and z_loss_backward. */
  name: string;
  forward(a: RowLossForward, rows: number, classes: number): void;
  backward(a: RowLossBackward, rows: number, classes: number, accumulate: number): void;
}

/** inputs: logits [..., V] f32, targets [...] i32 (-100: not counted); output: loss [1], NaN where no row is counted. */
export function rowLoss({ name, ...definition }: RowLossDefinition): Op {
  const kernel = name.replaceAll("-", "_");
  const forward = defineKernel({
    name: `${kernel}_forward`,
    buffers: { logits: "f32", targets: "i32", stats: "f32", rowLoss: "f32", loss: "f32" },
    params: ["rows", "classes"],
    sizes: { logits: ["rows", "classes"], targets: ["rows"], rowLoss: ["rows"] },
    reference: (a, p) => definition.forward(a, p.rows, p.classes),
  });
  const backward = defineKernel({
    name: `${kernel}_backward`,
    buffers: { logits: "f32", targets: "i32", stats: "f32", dloss: "f32", dlogits: "f32" },
    params: ["rows", "classes", "accumulate"],
    sizes: { logits: ["rows", "classes"], targets: ["rows"], dlogits: ["rows", "classes"] },
    reference: (a, p) => definition.backward(a, p.rows, p.classes, p.accumulate),
  });
  return {
    name,
    forward(cx, [logits, targets]) {
      const lead = logits.shape.slice(0, -1);
      const classes = logits.shape[logits.shape.length - 1];
      if (logits.shape.length < 2 || targets.dtype !== "i32" || targets.shape.join() !== lead.join() || classes < 1)
        throw new ShapeError(
          `${name}: logits are [${logits.shape}], targets are ${targets.dtype} [${targets.shape}]; expected logits [..., V] and targets i32 [${lead}]`,
        );
      const rows = sizeOf(lead);
      const loss = cx.create([1], "f32");
      const stats = cx.create([rows, 2], "f32");
      const rowLosses = cx.create([rows], "f32");
      cx.backend.launch(forward, { logits, targets, stats, rowLoss: rowLosses, loss }, { rows, classes });
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
}
