/**
 * Estimators of ternary weights as ops: forward w itself, an alias; backward the gradient at the quantized weights, scaled
 * weight by weight. The rules are in reference.ts. Called by nn/estimators/, one file there for each.
 */
import { defineKernel, type Kernel } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { ewgsBackward, resteBackward, resteOrder, softBackward, softSlope, trustBackward } from "./reference.ts";

export { resteOrder, softSlope } from "./reference.ts";

/** The share of the run that is done, 0 to 1: annealed estimators change with it. */
export interface Progress {
  progress: number;
}

const buffers = { w: "f32", codes: "u8", scale: "f32", dy: "f32", dw: "f32" } as const;
const sizes = { w: ["size"], codes: ["size"], dy: ["size"], dw: ["size"] } as const;

const trust = defineKernel({
  name: "trust_estimator_backward",
  buffers,
  params: ["size", "accumulate", "trust"],
  sizes,
  reference: trustBackward,
});
const soft = defineKernel({
  name: "soft_estimator_backward",
  buffers,
  params: ["size", "accumulate", "t", "k", "threshold"],
  sizes,
  reference: softBackward,
});
const ewgs = defineKernel({
  name: "ewgs_estimator_backward",
  buffers,
  params: ["size", "accumulate", "delta"],
  sizes,
  reference: ewgsBackward,
});
const reste = defineKernel({
  name: "reste_estimator_backward",
  buffers,
  params: ["size", "accumulate", "order", "limit", "center", "threshold"],
  sizes,
  reference: resteBackward,
});

/** inputs: w [N, K], its codes u8 like it, their scale [1]; output: w, an alias. `numbersOf` checks the params. */
function estimator<P extends Progress, Rule extends string>(
  name: string,
  kernel: Kernel<typeof buffers, "size" | "accumulate" | Rule>,
  numbersOf: (params: P) => Record<Rule, number>,
): Op<P> {
  return {
    name,
    forward(_cx, [w, codes, scale], params) {
      numbersOf(params);
      if (
        w.dtype !== "f32" ||
        codes.dtype !== "u8" ||
        String(codes.shape) !== String(w.shape) ||
        sizeOf(scale.shape) !== 1
      )
        throw new ShapeError(
          `${name}: w is ${w.dtype} [${w.shape}], its codes ${codes.dtype} [${codes.shape}], its scale [${scale.shape}]; expected f32, u8 codes of w's shape, and one scale`,
        );
      return { outputs: [w], saved: [w, codes, scale] };
    },
    backward(cx, [w, codes, scale], [dy], params) {
      const target = dy && cx.gradient(0);
      if (!target) return;
      const { array: dw, accumulate } = target;
      cx.backend.launch(
        kernel,
        { w, codes, scale, dy, dw },
        { size: sizeOf(w.shape), accumulate, ...numbersOf(params) },
      );
    },
  };
}

/** @throws UsageError, naming the op and the parameter, where `fits` is false */
function check(op: string, fits: boolean, param: string, value: number, expected: string): void {
  if (!fits) throw new UsageError(`${op}: ${param} is ${value}; expected ${expected}`);
}

const checkProgress = (op: string, progress: number) =>
  check(op, progress >= 0 && progress <= 1, "progress", progress, "0 to 1");

export interface TrustParams {
  /** How far from its level of the grid a weight may be, in units of the scale, and still get a gradient. */
  trust: number;
}

export const trustEstimator = estimator("trust-estimator", trust, ({ trust }: TrustParams & Progress) => {
  check("trust-estimator", trust > 0, "trust", trust, "a number above 0");
  return { trust };
});

export interface SoftParams {
  /** t at the start and at the end of the run: the steepness of the soft steps. */
  from: number;
  to: number;
  /** b: where the steps are, in units of the scale. */
  threshold: number;
}

export const softEstimator = estimator("soft-estimator", soft, (p: SoftParams & Progress) => {
  const { from, to, threshold, progress } = p;
  check("soft-estimator", from > 0, "from", from, "a number above 0");
  check("soft-estimator", to > 0, "to", to, "a number above 0");
  check("soft-estimator", threshold >= 0, "threshold", threshold, "a number from 0");
  checkProgress("soft-estimator", progress);
  return { ...softSlope(p), threshold };
});

export interface EwgsParams {
  /** How much the gradient is scaled for each unit of the scale between the weight and its level of the grid. */
  delta: number;
}

export const ewgsEstimator = estimator("ewgs-estimator", ewgs, ({ delta }: EwgsParams & Progress) => {
  check("ewgs-estimator", delta >= 0, "delta", delta, "a number from 0");
  return { delta };
});

export interface ResteParams {
  /** o at the end of the run; it is 1 at the start. */
  to: number;
  /** Weights with |v| above it get no gradient. */
  limit: number;
  /** m: the slope is constant within |v| <= m, where the power would grow without bound. */
  center: number;
  /** b: where the steps are, in units of the scale. */
  threshold: number;
}

export const resteEstimator = estimator("reste-estimator", reste, (p: ResteParams & Progress) => {
  const { to, limit, center, threshold, progress } = p;
  check("reste-estimator", to >= 1, "to", to, "a number from 1");
  check("reste-estimator", limit > 0, "limit", limit, "a number above 0");
  check("reste-estimator", center > 0, "center", center, "a number above 0");
  check("reste-estimator", threshold >= 0 && threshold < 1, "threshold", threshold, "0 or more, and below 1");
  checkProgress("reste-estimator", progress);
  return { order: resteOrder(p), limit, center, threshold };
});
