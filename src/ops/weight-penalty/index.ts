/**
 * Penalties on the weights of a ternary layer as ops: contract, kernels and gradients. Codes and scale are constants. The
 * definitions are in reference.ts. Called by train/objectives.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import {
  kurtosisBackward,
  kurtosisForward,
  penaltyBackward,
  penaltyForward,
  type PenaltyKind,
  penaltyKinds,
} from "./reference.ts";

export { type PenaltyKind, penaltyKinds } from "./reference.ts";

const forward = defineKernel({
  name: "weight_penalty_forward",
  buffers: { w: "f32", codes: "u8", scale: "f32", loss: "f32" },
  params: ["size", "kind", "limit"],
  sizes: { w: ["size"], codes: ["size"] },
  reference: penaltyForward,
});
const backward = defineKernel({
  name: "weight_penalty_backward",
  buffers: { w: "f32", codes: "u8", scale: "f32", dloss: "f32", dw: "f32" },
  params: ["size", "kind", "limit", "accumulate"],
  sizes: { w: ["size"], codes: ["size"], dw: ["size"] },
  reference: penaltyBackward,
});
const momentsForward = defineKernel({
  name: "weight_kurtosis_forward",
  buffers: { w: "f32", stats: "f32", loss: "f32" },
  params: ["size", "target"],
  sizes: { w: ["size"] },
  reference: kurtosisForward,
});
const momentsBackward = defineKernel({
  name: "weight_kurtosis_backward",
  buffers: { w: "f32", stats: "f32", dloss: "f32", dw: "f32" },
  params: ["size", "target", "accumulate"],
  sizes: { w: ["size"], dw: ["size"] },
  reference: kurtosisBackward,
});

export interface WeightPenaltyParams {
  kind: PenaltyKind;
  /** Of range: |w| above limit · s counts. */
  limit?: number;
}

function checkMatrix(op: string, [w, codes, scale]: readonly NDArray[]): void {
  if (w.dtype !== "f32" || codes.dtype !== "u8" || String(codes.shape) !== String(w.shape) || sizeOf(scale.shape) !== 1)
    throw new ShapeError(
      `${op}: w is ${w.dtype} [${w.shape}], its codes ${codes.dtype} [${codes.shape}], its scale [${scale.shape}]; expected f32, u8 codes of w's shape, and one scale`,
    );
}

/** inputs: w [N, K], its codes u8 (q + 1) like it, their scale [1]; output: the penalty [1], a sum over the weights. */
export const weightPenalty: Op<WeightPenaltyParams> = {
  name: "weight-penalty",
  forward(cx, inputs, { kind, limit = 1 }) {
    checkMatrix("weight-penalty", inputs);
    if (!(limit > 0)) throw new UsageError(`weight-penalty: limit is ${limit}; expected a number above 0`);
    const [w, codes, scale] = inputs;
    const loss = cx.create([1], "f32");
    cx.backend.launch(
      forward,
      { w, codes, scale, loss },
      { size: sizeOf(w.shape), kind: penaltyKinds.indexOf(kind), limit },
    );
    return { outputs: [loss], saved: [w, codes, scale] };
  },
  backward(cx, [w, codes, scale], [dloss], { kind, limit = 1 }) {
    const target = dloss && cx.gradient(0);
    if (!target) return;
    const { array: dw, accumulate } = target;
    cx.backend.launch(
      backward,
      { w, codes, scale, dloss, dw },
      { size: sizeOf(w.shape), kind: penaltyKinds.indexOf(kind), limit, accumulate },
    );
  },
};

export interface WeightKurtosisParams {
  /** The kurtosis aimed at: 1.8 is that of a uniform distribution, 3 of a normal one. */
  target: number;
}

/** input: w of at least two weights; output: (K - target)² [1]. */
export const weightKurtosis: Op<WeightKurtosisParams> = {
  name: "weight-kurtosis",
  forward(cx, [w], { target }) {
    const size = sizeOf(w.shape);
    if (w.dtype !== "f32" || size < 2)
      throw new ShapeError(`weight-kurtosis: w is ${w.dtype} [${w.shape}]; expected f32, of at least two weights`);
    const [stats, loss] = [cx.create([4], "f32"), cx.create([1], "f32")];
    cx.backend.launch(momentsForward, { w, stats, loss }, { size, target });
    return { outputs: [loss], saved: [w, stats] };
  },
  backward(cx, [w, stats], [dloss], { target }) {
    const place = dloss && cx.gradient(0);
    if (!place) return;
    const { array: dw, accumulate } = place;
    cx.backend.launch(momentsBackward, { w, stats, dloss, dw }, { size: sizeOf(w.shape), target, accumulate });
  },
};
