/**
 * Products of the packed engine: a group of linear layers that read one input, as one product where they multiply alike, or
 * one for each where they do not (mixed precision). Called by step.ts; the weights come from weights.ts.
 */
import type { NDArray } from "../../backends/backend.ts";
import { copyColumns } from "../../ops/copy-columns/index.ts";
import { gatedActivation } from "../../ops/gated-activation/index.ts";
import { type Matrix, matrixLinear } from "../../ops/matrix-linear/index.ts";
import type { Op, OpContext } from "../../ops/op.ts";
import { type LinearEnd, type PackedWeight, packedLinear } from "../../ops/packed-linear/index.ts";
import { rmsNorm } from "../../ops/rms-norm/index.ts";

/** A matrix as it multiplies, and how it reads its input. */
export type LinearProduct =
  /** The input as codes up to `levels` (BitLinear: 127); or, levels null, as floats, rounded by an activation quantizer's op or not. */
  | { ternary: PackedWeight; levels: number | null; rounding: Op<{ lambda: number }> | null }
  /** The input as floats, rounded by an activation quantizer's op or not. */
  | { matrix: Matrix; rounding: Op<{ lambda: number }> | null };

/** The weights of a group: one product for all of it, or its layers' own, in their order. */
export type LinearWeight = LinearProduct | { parts: readonly LinearProduct[] };

const rowsOf = (product: LinearProduct): number => ("ternary" in product ? product.ternary.rows : product.matrix.rows);

export interface ProductOptions {
  end: LinearEnd;
  normEps: number;
  /** No layer rounds its input to int8. */
  floatActivations: boolean;
}

/**
 * @param x    [M, K] f32
 * @param gain [K] f32 of the norm in front, or null for none
 * @param y    [M, N] f32: overwritten, or added to with end "add"; not x
 */
export function applyWeight(
  cx: OpContext,
  x: NDArray,
  gain: NDArray | null,
  weight: LinearWeight,
  y: NDArray,
  options: ProductOptions,
): void {
  if (!("parts" in weight)) {
    applyProduct(cx, x, gain, weight, y, options);
    return;
  }
  const { end } = options;
  const outputs = weight.parts.map((part) => {
    const output = cx.create([x.shape[0], rowsOf(part)], "f32");
    applyProduct(cx, x, gain, part, output, { ...options, end: "store" });
    return output;
  });
  if (end === "store") {
    let first = 0;
    for (const output of outputs) {
      copyColumns(cx, output, y, first);
      first += output.shape[1];
    }
    return;
  }
  if (end === "add") throw new Error("packed engine: a residual is added to a single layer");
  // Gate and up: joined into y.
  gatedActivation.forward({ ...cx, create: () => y }, outputs, { kind: end });
}

function applyProduct(
  cx: OpContext,
  x: NDArray,
  gain: NDArray | null,
  product: LinearProduct,
  y: NDArray,
  { end, normEps, floatActivations }: ProductOptions,
): void {
  const multiply = (input: NDArray, norm: NDArray | null) => {
    if (!("ternary" in product)) matrixLinear(cx, input, norm, product.matrix, y, { end, normEps });
    else
      packedLinear(cx, input, norm, product.ternary, y, {
        end,
        normEps,
        floatActivations: floatActivations || product.levels === null,
        levels: product.levels ?? undefined,
      });
  };
  const { rounding } = product;
  if (!rounding || floatActivations) {
    multiply(x, gain);
    return;
  }
  const [normed] = gain ? rmsNorm.forward(cx, [x, gain], { eps: normEps }).outputs : [x];
  const [rounded] = rounding.forward(cx, [normed], { lambda: 1 }).outputs;
  multiply(rounded, null);
}
