/**
 * BitLinear as an op: int8 activations times ternary weights, an exact integer product, with straight-through gradients.
 * The input comes quantised (ops/activation-quant, norm-quant, gated-norm-quant). Several weights that read one
 * input (q, k and v; gate and up) are one application, so that the input gets one gradient. The definition is in
 * reference.ts.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type BackwardContext, type Op, sizeOf } from "../op.ts";
import { bf16Flag, checkInt8Gradients } from "../precision.ts";
import { backwardInt8, type GradientTerm } from "./int8.ts";
import {
  bitLinearBackwardInput,
  bitLinearBackwardWeight,
  bitLinearForward,
  type InputGradientTerm,
} from "./reference.ts";

/** residual may be null. */
const forward = defineKernel({
  name: "bit_linear_forward",
  buffers: { x: "i8", xScale: "f32", sums: "i32", codes: "u8", scale: "f32", y: "f32", residual: "f32" },
  params: ["m", "n", "k"],
  reference: (a, p) => bitLinearForward(a.x, a.xScale, a.sums, a.codes, a.scale[0], a.y, p.m, p.n, p.k, a.residual),
});

// Three weights at most in one launch: q, k and v. Those after the last are null.
const termsAtOnce = 3;
const backwardInput = defineKernel({
  name: "bit_linear_backward_input",
  buffers: {
    dy0: "f32",
    codes0: "u8",
    scale0: "f32",
    dy1: "f32",
    codes1: "u8",
    scale1: "f32",
    dy2: "f32",
    codes2: "u8",
    scale2: "f32",
    dx: "f32",
  },
  params: ["m", "k", "n0", "n1", "n2", "accumulate", "bf16"],
  reference(a, p) {
    const terms: InputGradientTerm[] = [{ dy: a.dy0, codes: a.codes0, scale: a.scale0[0], n: p.n0 }];
    if (a.dy1) terms.push({ dy: a.dy1, codes: a.codes1, scale: a.scale1[0], n: p.n1 });
    if (a.dy2) terms.push({ dy: a.dy2, codes: a.codes2, scale: a.scale2[0], n: p.n2 });
    bitLinearBackwardInput(terms, a.dx, p.m, p.k, p.accumulate, p.bf16);
  },
});

const backwardWeight = defineKernel({
  name: "bit_linear_backward_weight",
  buffers: { dy: "f32", x: "i8", xScale: "f32", dw: "f32" },
  params: ["m", "n", "k", "accumulate", "bf16"],
  reference: (a, p) => bitLinearBackwardWeight(a.dy, a.x, a.xScale, a.dw, p.m, p.n, p.k, p.accumulate, p.bf16),
});

export interface BitLinearParams {
  /** Whether the last input is a residual, like the one output, that is added to it. */
  residual?: boolean;
}

/**
 * inputs: x as its int8 codes [..., K], their scale [M] and sums i32 [M]; then n weights w_i [N_i, K], their n codes (u8,
 * like w_i) and their n scales ([1]), the last two from ops/weight-quant; a residual [..., N] if params say so. Outputs: n
 * arrays y_i [..., N_i]; with a residual n is 1.
 *
 * The weights themselves are read by nobody: they are inputs because the gradient is theirs. Kept for backward are the
 * int8 codes of x; the gradient of the codes is that of the reals they stand for. The context's precision is that of the
 * gradients' products; the forward is exact. Under int8 they are products of int8 too (int8.ts).
 */
export const bitLinear: Op<BitLinearParams> = {
  name: "bit-linear",
  forward(cx, inputs, params) {
    const [x, xScale, sums, ...rest] = inputs;
    const residual = params.residual ? rest.pop()! : null;
    const count = rest.length / 3;
    if (!Number.isInteger(count) || count === 0)
      throw new ShapeError(
        `bit-linear: ${inputs.length} inputs came; expected codes, scale and sums of x, as many weights, codes and scales${residual ? ", and a residual" : ""}`,
      );
    const k = x.shape[x.shape.length - 1];
    const m = sizeOf(x.shape) / k;
    if (x.dtype !== "i8" || sizeOf(xScale.shape) !== m || sizeOf(sums.shape) !== m)
      throw new ShapeError(
        `bit-linear: x is ${x.dtype} [${x.shape}], its scale [${xScale.shape}], its sums [${sums.shape}]; expected i8 codes, and one scale and one sum for each of ${m} rows`,
      );
    const part = (i: number) => ({ w: rest[i], codes: rest[count + i], scale: rest[2 * count + i] });
    const saved: NDArray[] = [];
    for (let i = 0; i < count; i++) {
      const { w, codes, scale } = part(i);
      if (w.shape.length !== 2 || w.shape[1] !== k || String(codes.shape) !== String(w.shape) || codes.dtype !== "u8")
        throw new ShapeError(
          `bit-linear: x is [${x.shape}], weight ${i} is [${w.shape}], its codes are ${codes.dtype} [${codes.shape}]; expected [N, ${k}] and u8 codes of that shape`,
        );
      if (sizeOf(scale.shape) !== 1)
        throw new ShapeError(`bit-linear: scale ${i} is [${scale.shape}]; expected one number`);
      saved.push(codes, scale);
    }
    const outputShape = (i: number) => [...x.shape.slice(0, -1), part(i).w.shape[0]];
    if (residual && (count !== 1 || String(residual.shape) !== String(outputShape(0))))
      throw new ShapeError(
        `bit-linear: the residual is [${residual.shape}] and there are ${count} weights; expected one weight, and a residual [${outputShape(0)}]`,
      );
    const outputs: NDArray[] = [];
    for (let i = 0; i < count; i++) {
      const { codes, scale } = part(i);
      const y = cx.create(outputShape(i), "f32");
      cx.backend.launch(forward, { x, xScale, sums, codes, scale, y, residual }, { m, n: codes.shape[0], k });
      outputs.push(y);
    }
    return { outputs, saved: [x, xScale, ...saved] };
  },

  backward(cx, [x, xScale, ...codesAndScales], outputGradients, params) {
    const terms = outputGradients.flatMap((dy, i) => {
      const [codes, scale] = codesAndScales.slice(2 * i, 2 * i + 2);
      return dy ? [{ dy, codes, scale, n: codes.shape[0], input: 3 + i }] : [];
    });
    if (terms.length === 0) return;

    if (cx.precision === "int8") {
      checkInt8Gradients(cx, "bit-linear");
      backwardInt8(cx, x, xScale, terms);
    } else {
      backwardFloat(cx, x, xScale, terms);
    }
    // Last: whoever takes it over may add to it in place.
    if (params.residual) cx.pass(6, terms[0].dy);
  },
};

/** Fills the gradients of x and the weights from float products. */
function backwardFloat(cx: BackwardContext, x: NDArray, xScale: NDArray, terms: readonly GradientTerm[]): void {
  const m = xScale.shape[0];
  const k = x.shape[x.shape.length - 1];
  const bf16 = bf16Flag(cx, "bit-linear");
  const dx = cx.gradient(0);
  for (let from = 0; dx && from < terms.length; from += termsAtOnce) {
    const [t0, t1, t2] = terms.slice(from, from + termsAtOnce);
    cx.backend.launch(
      backwardInput,
      {
        ...{ dy0: t0.dy, codes0: t0.codes, scale0: t0.scale },
        ...{ dy1: t1?.dy ?? null, codes1: t1?.codes ?? null, scale1: t1?.scale ?? null },
        ...{ dy2: t2?.dy ?? null, codes2: t2?.codes ?? null, scale2: t2?.scale ?? null },
        dx: dx.array,
      },
      { m, k, n0: t0.n, n1: t1?.n ?? 0, n2: t2?.n ?? 0, accumulate: from > 0 ? 1 : dx.accumulate, bf16 },
    );
  }
  for (const { dy, n, input } of terms) {
    const dw = cx.gradient(input);
    if (dw)
      cx.backend.launch(backwardWeight, { dy, x, xScale, dw: dw.array }, { m, n, k, accumulate: dw.accumulate, bf16 });
  }
}
