/**
 * BitLinear's backward under precision int8: the output gradients are rounded to int8 once, by rows and by columns, and both
 * products are of int8. The definition is in int8-reference.ts. Only index.ts calls this.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import type { BackwardContext } from "../op.ts";
import {
  bitLinearBackwardInputInt8,
  bitLinearBackwardWeightInt8,
  gradientBlock,
  quantizeGradient,
} from "./int8-reference.ts";
import type { InputGradientTerm } from "./reference.ts";

/** One weight's part: the gradient of its output, and which input it is. */
export interface GradientTerm {
  dy: NDArray;
  codes: NDArray;
  scale: NDArray;
  /** N_i. */
  n: number;
  input: number;
}

const none = new Uint8Array(0);
// Three weights at most in one launch: q, k and v. Those after the last are null.
const termsAtOnce = 3;
const gradientQuant = defineKernel({
  name: "gradient_quant",
  buffers: {
    dy0: "f32",
    scale0: "f32",
    dy1: "f32",
    scale1: "f32",
    dy2: "f32",
    scale2: "f32",
    xScale: "f32",
    rowCodes: "i8",
    rowScale: "f32",
    rowSums: "i32",
    columnCodes: "i8",
    columnScale: "f32",
    columnSums: "i32",
  },
  params: ["m", "n0", "n1", "n2", "block"],
  reference(a, p) {
    const terms: InputGradientTerm[] = [{ dy: a.dy0, codes: none, scale: a.scale0[0], n: p.n0 }];
    if (a.dy1) terms.push({ dy: a.dy1, codes: none, scale: a.scale1[0], n: p.n1 });
    if (a.dy2) terms.push({ dy: a.dy2, codes: none, scale: a.scale2[0], n: p.n2 });
    const rows = { codes: a.rowCodes, scale: a.rowScale, sums: a.rowSums };
    const columns = { codes: a.columnCodes, scale: a.columnScale, sums: a.columnSums };
    quantizeGradient(terms, a.xScale, rows, columns, p.m, p.block);
  },
});
const backwardInput = defineKernel({
  name: "bit_linear_backward_input_int8",
  buffers: { rowCodes: "i8", rowScale: "f32", rowSums: "i32", codes0: "u8", codes1: "u8", codes2: "u8", dx: "f32" },
  params: ["m", "k", "n0", "n1", "n2", "accumulate"],
  reference(a, p) {
    const weights = [{ codes: a.codes0, n: p.n0 }];
    if (a.codes1) weights.push({ codes: a.codes1, n: p.n1 });
    if (a.codes2) weights.push({ codes: a.codes2, n: p.n2 });
    bitLinearBackwardInputInt8({ codes: a.rowCodes, scale: a.rowScale }, weights, a.dx, p.m, p.k, p.accumulate);
  },
});
const backwardWeight = defineKernel({
  name: "bit_linear_backward_weight_int8",
  buffers: { columnCodes: "i8", columnScale: "f32", columnSums: "i32", x: "i8", dw: "f32" },
  params: ["m", "n", "k", "block", "at", "width", "accumulate"],
  reference: (a, p) => bitLinearBackwardWeightInt8({ codes: a.columnCodes, scale: a.columnScale }, a.x, a.dw, p),
});

/** Fills the gradients of x (input 0) and of the weights. */
export function backwardInt8(cx: BackwardContext, x: NDArray, xScale: NDArray, terms: readonly GradientTerm[]): void {
  const m = xScale.shape[0];
  const k = x.shape[x.shape.length - 1];
  const block = gradientBlock;
  const dx = cx.gradient(0);
  const groups: {
    members: readonly GradientTerm[];
    columns: Record<"columnCodes" | "columnScale" | "columnSums", NDArray>;
  }[] = [];
  for (let from = 0; from < terms.length; from += termsAtOnce) {
    const members = terms.slice(from, from + termsAtOnce);
    const [t0, t1, t2] = members;
    const widths = { n0: t0.n, n1: t1?.n ?? 0, n2: t2?.n ?? 0 };
    const width = widths.n0 + widths.n1 + widths.n2;
    const blocks = Math.ceil(m / block);
    const rows = {
      rowCodes: cx.create([m, width], "i8"),
      rowScale: cx.create([m], "f32"),
      rowSums: cx.create([m], "i32"),
    };
    const columns = {
      columnCodes: cx.create([m, width], "i8"),
      columnScale: cx.create([blocks, width], "f32"),
      columnSums: cx.create([blocks, width], "i32"),
    };
    cx.backend.launch(
      gradientQuant,
      {
        ...{ dy0: t0.dy, scale0: t0.scale },
        ...{ dy1: t1?.dy ?? null, scale1: t1?.scale ?? null },
        ...{ dy2: t2?.dy ?? null, scale2: t2?.scale ?? null },
        ...{ xScale, ...rows, ...columns },
      },
      { m, ...widths, block },
    );
    groups.push({ members, columns });
    if (!dx) continue;
    const codes = { codes0: t0.codes, codes1: t1?.codes ?? null, codes2: t2?.codes ?? null };
    const accumulate = from > 0 ? 1 : dx.accumulate;
    cx.backend.launch(backwardInput, { ...rows, ...codes, dx: dx.array }, { m, k, ...widths, accumulate });
  }
  for (const { members, columns } of groups) {
    const width = members.reduce((sum, { n }) => sum + n, 0);
    let at = 0;
    for (const { n, input } of members) {
      const dw = cx.gradient(input);
      if (dw)
        cx.backend.launch(
          backwardWeight,
          { ...columns, x, dw: dw.array },
          { m, n, k, block, at, width, accumulate: dw.accumulate },
        );
      at += n;
    }
  }
}
