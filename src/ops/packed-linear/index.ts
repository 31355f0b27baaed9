/**
 * A BitLinear over packed weights as one launch: norm, int8 codes, the exact integer product, and the residual or the
 * gate behind it. Inference only. The definition is in reference.ts.
 */
import { type Backend, defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import {
  packedBytes,
  panelRows,
  packTernary as packReference,
  type RowPlacement,
  type TernaryFormat,
} from "../../quant/packed-ternary.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { ends, formats, type LinearEnd, nameOf, packedLinear as reference, weightRows } from "./reference.ts";

export { ends, isGated, type LinearEnd, weightRows } from "./reference.ts";

/** Of the activations' quantisation, as bit-linear has it. */
const activationEps = 1e-5;
/** Up to so many rows the kernel needs no workspace; as kFew in kernel.cc. */
export const fewRows = 8;

const kernel = defineKernel({
  name: "packed_linear",
  buffers: {
    x: "f32",
    gain: "f32",
    weights: "u8",
    scales: "f32",
    y: "f32",
    codes: "i8",
    rowScales: "f32",
    rowSums: "i32",
    product: "f32",
  },
  params: ["m", "n", "k", "normEps", "quantEps", "end", "format", "floats"],
  reference,
});

const pack = defineKernel({
  name: "pack_ternary",
  buffers: { codes: "u8", packed: "u8" },
  params: ["n", "k", "first", "step", "format"],
  reference: (a, p) => packReference(a.codes, p.n, p.k, nameOf(formats, p.format), a.packed, p),
});

/** Packed rows with a scale each. */
export interface PackedWeight {
  /** u8, packedBytes(rows, k). */
  readonly packed: NDArray;
  /** f32, one for each row, whole panels. */
  readonly scales: NDArray;
  readonly rows: number;
  readonly k: number;
  readonly format: TernaryFormat;
}

/** Packs codes u8 [N, K] that lie on the device into rows of a packed weight. */
export function packTernary(backend: Backend, codes: NDArray, to: PackedWeight, placement: RowPlacement): void {
  const [n, k] = codes.shape;
  const last = placement.first + Math.floor((n - 1) / panelRows) * placement.step + ((n - 1) % panelRows);
  if (codes.dtype !== "u8" || k !== to.k || last >= to.rows)
    throw new ShapeError(
      `pack-ternary: codes are ${codes.dtype} [${codes.shape}], row ${n - 1} goes to ${last}; the packed weight has [${to.rows}, ${to.k}]`,
    );
  backend.launch(pack, { codes, packed: to.packed }, { n, k, ...placement, format: formats[to.format] });
}

export interface PackedLinearParams {
  end: LinearEnd;
  normEps: number;
  /** Activations stay floats: for comparison with programs that do not quantise them. */
  floatActivations?: boolean;
}

/**
 * @param x    [M, K] f32
 * @param gain [K] f32 of the norm in front, or null for none
 * @param y    [M, N] f32: overwritten, or added to with end "add". With end "add" it may not be x
 * @throws ShapeError where sizes do not fit
 */
export function packedLinear(
  cx: OpContext,
  x: NDArray,
  gain: NDArray | null,
  weight: PackedWeight,
  y: NDArray,
  { end, normEps, floatActivations = false }: PackedLinearParams,
): void {
  const [m, k] = x.shape;
  const n = y.shape[y.shape.length - 1];
  const rows = weightRows(n, end);
  const whole = Math.ceil(rows / panelRows) * panelRows;
  if (
    k !== weight.k ||
    sizeOf(y.shape) !== m * n ||
    rows !== weight.rows ||
    (gain && sizeOf(gain.shape) !== k) ||
    sizeOf(weight.packed.shape) !== packedBytes(rows, k, weight.format) ||
    sizeOf(weight.scales.shape) !== whole ||
    x.buffer === y.buffer
  )
    throw new ShapeError(
      `packed-linear: x is [${x.shape}], y [${y.shape}], the weight [${weight.rows}, ${weight.k}] with ${sizeOf(weight.scales.shape)} scales; with end "${end}" expected a weight of [${rows}, ${k}], and x and y apart`,
    );
  const work = m > fewRows && !floatActivations;
  cx.backend.launch(
    kernel,
    {
      x,
      gain,
      weights: weight.packed,
      scales: weight.scales,
      y,
      codes: work ? cx.create([m, Math.ceil(k / 4) * 4], "i8") : null,
      rowScales: work ? cx.create([m], "f32") : null,
      rowSums: work ? cx.create([m], "i32") : null,
      product: work && end !== "store" ? cx.create([m, whole], "f32") : null,
    },
    {
      m,
      n,
      k,
      normEps,
      quantEps: activationEps,
      end: ends[end],
      format: formats[weight.format],
      floats: floatActivations ? 1 : 0,
    },
  );
}
