/**
 * Matrix product with float32 weights as an op: its contract, kernels and gradients. The definition is in reference.ts.
 * The ternary one is ops/bit-linear.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, type OpContext, sizeOf } from "../op.ts";
import { bf16Flag } from "../precision.ts";
import { matmulBackwardInput, matmulBackwardWeight, matmulForward } from "./reference.ts";

const forward = defineKernel({
  name: "matmul_forward",
  buffers: { x: "f32", w: "f32", y: "f32" },
  params: ["m", "n", "k", "bf16"],
  sizes: { x: ["m", "k"], w: ["n", "k"], y: ["m", "n"] },
  reference: (a, p) => matmulForward(a.x, a.w, a.y, p.m, p.n, p.k, p.bf16),
});

const backwardInput = defineKernel({
  name: "matmul_backward_input",
  buffers: { dy: "f32", w: "f32", dx: "f32" },
  params: ["m", "n", "k", "accumulate", "bf16"],
  sizes: { dy: ["m", "n"], w: ["n", "k"], dx: ["m", "k"] },
  reference: (a, p) => matmulBackwardInput(a.dy, a.w, a.dx, p.m, p.n, p.k, p.accumulate, p.bf16),
});

const backwardWeight = defineKernel({
  name: "matmul_backward_weight",
  buffers: { dy: "f32", x: "f32", dw: "f32" },
  params: ["m", "n", "k", "accumulate", "bf16"],
  sizes: { dy: ["m", "n"], x: ["m", "k"], dw: ["n", "k"] },
  reference: (a, p) => matmulBackwardWeight(a.dy, a.x, a.dw, p.m, p.n, p.k, p.accumulate, p.bf16),
});

/** inputs: x [..., K], w [N, K]; output: y [..., N] = x · wᵀ. Honours the context's precision. */
export const matmul: Op = {
  name: "matmul",
  forward(cx, [x, w]) {
    const k = x.shape[x.shape.length - 1];
    if (w.shape.length !== 2 || w.shape[1] !== k)
      throw new ShapeError(`matmul: x is [${x.shape}], w is [${w.shape}]; expected w [N, ${k}]`);
    if (x.dtype !== "f32" || w.dtype !== "f32")
      throw new ShapeError(`matmul: x is ${x.dtype}, w is ${w.dtype}; expected f32 for both`);
    const n = w.shape[0];
    const y = cx.create([...x.shape.slice(0, -1), n], "f32");
    cx.backend.launch(forward, { x, w, y }, { m: sizeOf(x.shape) / k, n, k, bf16: bf16Flag(cx, "matmul") });
    return { outputs: [y], saved: [x, w] };
  },
  backward(cx, [x, w], [dy]) {
    if (!dy) return;
    const [n, k] = w.shape;
    const sizes = { m: sizeOf(x.shape) / k, n, k, bf16: bf16Flag(cx, "matmul") };
    const dx = cx.gradient(0);
    if (dx) cx.backend.launch(backwardInput, { dy, w, dx: dx.array }, { ...sizes, accumulate: dx.accumulate });
    const dw = cx.gradient(1);
    if (dw) cx.backend.launch(backwardWeight, { dy, x, dw: dw.array }, { ...sizes, accumulate: dw.accumulate });
  },
};

/**
 * The three products over matrices as they are, float32 and not taped: for steps that multiply matrices of their own
 * (ops/muon). The last array is overwritten; it must be none of the others.
 */
export const plainProducts = {
  /** y [M, N] = x [M, K] · w [N, K]ᵀ */
  timesTransposed: (cx: Pick<OpContext, "backend">, x: NDArray, w: NDArray, y: NDArray): void =>
    cx.backend.launch(forward, { x, w, y }, { m: x.shape[0], n: w.shape[0], k: x.shape[1], bf16: 0 }),
  /** c [M, K] = a [M, N] · b [N, K] */
  times: (cx: Pick<OpContext, "backend">, a: NDArray, b: NDArray, c: NDArray): void =>
    cx.backend.launch(
      backwardInput,
      { dy: a, w: b, dx: c },
      { m: a.shape[0], n: b.shape[0], k: b.shape[1], accumulate: 0, bf16: 0 },
    ),
  /** c [N, K] = a [M, N]ᵀ · b [M, K] */
  transposedTimes: (cx: Pick<OpContext, "backend">, a: NDArray, b: NDArray, c: NDArray): void =>
    cx.backend.launch(
      backwardWeight,
      { dy: a, x: b, dw: c },
      { m: a.shape[0], n: a.shape[1], k: b.shape[1], accumulate: 0, bf16: 0 },
    ),
};
