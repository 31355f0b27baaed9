/**
 * A BitLinear over packed weights as one launch: norm, int8 codes, the exact integer product, and the residual or the
 * gate behind it. Inference only. The definition is in reference.ts.
 */
import { type Backend, defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { packedBytes, panelRows, type RowPlacement, type TernaryFormat } from "../../quant/packed-ternary.ts";
import { type RowSource, rowSources, sourceRowBytes } from "../../quant/row-sources.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { ends, formats, type LinearEnd, packedLinear as reference, packRows, weightRows } from "./reference.ts";
import { activationEps, int8Levels } from "../activation-quant/index.ts";

export { ends, type LinearEnd, weightRows } from "./reference.ts";

/** Up to so many rows the kernel needs no workspace; as kFew in kernel.cc. */
const fewRows = 8;

/**
 * Whether products of many rows need room for themselves before their end. Their end follows while they are in cache where all
 * of k is run through at once: up to 1024 words of it, as kStretch in native/gemm-products.h.
 */
export const needsProduct = (backend: Backend, end: LinearEnd, k: number): boolean =>
  end !== "store" && k > backend.supports.int8Columns;

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
  params: ["m", "n", "k", "normEps", "quantEps", "end", "format", "floats", "offset", "levels"],
  reference,
});

const pack = defineKernel({
  name: "pack_ternary",
  buffers: { rows: "u8", packed: "u8", scales: "f32" },
  params: ["n", "k", "first", "step", "format", "source", "offset"],
  reference: packRows,
});

/** Packed rows with a scale each. */
export interface PackedWeight {
  /** u8, packedBytes(rows, k) of them from `offset` on: the matrices of a model share one stretch of memory. */
  readonly packed: NDArray;
  /** Of the first byte; a multiple of 64. */
  readonly offset: number;
  /** f32, one for each row, whole panels. */
  readonly scales: NDArray;
  readonly rows: number;
  readonly k: number;
  readonly format: TernaryFormat;
}

const holds = ({ packed, offset, rows, k, format }: PackedWeight): boolean =>
  packed.dtype === "u8" && offset >= 0 && sizeOf(packed.shape) >= offset + packedBytes(rows, k, format);

/**
 * Packs N rows of weights, as a file holds them or as codes, that lie on the device, into rows of a packed weight.
 *
 * @param scales f32 [N], overwritten: of each row its scale; 0 where it has none but zeros; NaN where it is not ternary.
 *   For codes and I2_S, whose scale is not in their rows, 1.
 */
export function packTernary(
  backend: Backend,
  { rows, source, n }: { rows: NDArray; source: RowSource; n: number },
  to: PackedWeight,
  placement: RowPlacement,
  scales: NDArray,
): void {
  const last = placement.first + Math.floor((n - 1) / panelRows) * placement.step + ((n - 1) % panelRows);
  const bytes = n * sourceRowBytes(source, to.k);
  if (rows.dtype !== "u8" || sizeOf(rows.shape) < bytes || last >= to.rows || sizeOf(scales.shape) < n || !holds(to))
    throw new ShapeError(
      `pack-ternary: ${n} rows of ${source} are ${rows.dtype} [${rows.shape}] (${bytes} bytes are wanted), row ${n - 1} goes to ${last}; the packed weight has [${to.rows}, ${to.k}], there is room for [${scales.shape}] scales`,
    );
  backend.launch(
    pack,
    { rows, packed: to.packed, scales },
    { n, k: to.k, ...placement, format: formats[to.format], source: rowSources[source], offset: to.offset },
  );
}

export interface PackedLinearParams {
  end: LinearEnd;
  normEps: number;
  /** Activations stay floats: for comparison with programs that do not quantise them. */
  floatActivations?: boolean;
  /** The largest code of an activation; default: 127, of int8. */
  levels?: number;
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
  { end, normEps, floatActivations = false, levels = int8Levels }: PackedLinearParams,
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
    !holds(weight) ||
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
      product: work && needsProduct(cx.backend, end, k) ? cx.create([m, whole], "f32") : null,
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
      offset: weight.offset,
      levels,
    },
  );
}
