/**
 * Cross entropy as an op: contract, kernels and gradient. The definition is in reference.ts.
 *
 * Where nobody else holds the logits, backward writes the gradient over them and passes them on as their own gradient, so
 * that no second [M, V] array exists (it would be the largest of a training step). Where another op saved them or a caller
 * kept them, it works on a copy.
 */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { copy } from "../add/index.ts";
import { type Op, sizeOf } from "../op.ts";
import { crossEntropyBackward, crossEntropyForward } from "./reference.ts";

const forward = defineKernel({
  name: "cross_entropy_forward",
  buffers: { logits: "f32", targets: "i32", tokenLoss: "f32", stats: "f32", loss: "f32" },
  params: ["rows", "classes"],
  reference: (a, p) => crossEntropyForward(a.logits, a.targets, a.tokenLoss, a.stats, a.loss, p.rows, p.classes),
});

/** dloss and dtokenLoss may be null. */
const backward = defineKernel({
  name: "cross_entropy_backward",
  buffers: { logits: "f32", targets: "i32", stats: "f32", dloss: "f32", dtokenLoss: "f32" },
  params: ["rows", "classes"],
  reference: (a, p) => crossEntropyBackward(a, p.rows, p.classes),
});

/**
 * inputs: logits [..., V] f32, targets [...] i32 (-100: ignored); outputs: loss [1], the mean over counted targets in
 * nats (NaN where none is counted), and tokenLoss [...], 0 where ignored.
 */
export const crossEntropy: Op = {
  name: "cross-entropy",
  forward(cx, [logits, targets]) {
    const lead = logits.shape.slice(0, -1);
    const classes = logits.shape[logits.shape.length - 1];
    if (logits.shape.length < 2 || targets.dtype !== "i32" || targets.shape.join() !== lead.join() || classes < 1)
      throw new ShapeError(
        `cross-entropy: logits are [${logits.shape}], targets are ${targets.dtype} [${targets.shape}]; expected logits [..., V] and targets i32 [${lead}]`,
      );
    const rows = sizeOf(lead);
    const loss = cx.create([1], "f32");
    const tokenLoss = cx.create(lead, "f32");
    const stats = cx.create([rows, 2], "f32");
    cx.backend.launch(forward, { logits, targets, tokenLoss, stats, loss }, { rows, classes });
    return { outputs: [loss, tokenLoss], saved: [logits, targets, stats] };
  },
  backward(cx, [logits, targets, stats], [dloss, dtokenLoss]) {
    if (!dloss && !dtokenLoss) return;
    const classes = logits.shape[logits.shape.length - 1];
    let gradient = logits;
    if (!cx.exclusive(logits)) {
      gradient = cx.create(logits.shape, "f32");
      copy(cx, gradient, logits);
    }
    cx.backend.launch(
      backward,
      { logits: gradient, targets, stats, dloss, dtokenLoss },
      { rows: sizeOf(targets.shape), classes },
    );
    cx.pass(0, gradient);
  },
};
