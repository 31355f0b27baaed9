/**
 * Products by a float matrix kept in f32, bf16, f16, int8 or int4, its rows as embeddings, and the making of one. Inference
 * only. The definition is in reference.ts, the formats in quant/matrix-rows.ts.
 */
import { type Backend, defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type MatrixFormat, matrixBytes, matrixFormats } from "../../quant/matrix-rows.ts";
import { panelRows, type RowPlacement } from "../../quant/packed-ternary.ts";
import { floatSources, type RowSource, rowSources, sourceRowBytes } from "../../quant/row-sources.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { ends, type LinearEnd, weightRows } from "../packed-linear/reference.ts";
import { matrixLinear as reference, matrixRows as rowsReference, packMatrix as packReference } from "./reference.ts";

/** Up to so many rows the kernel needs no workspace; as kFew in kernel.cc. */
const fewRows = 8;
/**
 * Up to so many rows of x, a row gives the same bits alone and among others, whatever the format. Above, products of f32,
 * bf16 and f16 are made like training's, several times as fast and summed in another order; as kMany in kernel.cc.
 */
const manyRows = 64;

const kernel = defineKernel({
  name: "matrix_linear",
  buffers: { x: "f32", gain: "f32", weights: "u8", y: "f32", ready: "f32", product: "f32" },
  params: ["m", "n", "k", "normEps", "format", "end"],
  reference,
});
const rowsKernel = defineKernel({
  name: "matrix_rows",
  buffers: { ids: "i32", weights: "u8", y: "f32" },
  params: ["m", "k", "format"],
  sizes: { ids: ["m"], y: ["m", "k"] },
  reference: rowsReference,
});
const pack = defineKernel({
  name: "pack_matrix",
  buffers: { rows: "u8", packed: "u8" },
  params: ["n", "k", "first", "step", "format", "source"],
  reference: packReference,
});

export interface Matrix {
  /** u8, matrixBytes(rows, k). */
  readonly packed: NDArray;
  readonly rows: number;
  readonly k: number;
  readonly format: MatrixFormat;
}

function checkMatrix({ packed, rows, k, format }: Matrix, what: string): void {
  if (packed.dtype !== "u8" || sizeOf(packed.shape) !== matrixBytes(rows, k, format))
    throw new ShapeError(
      `${what}: the ${format} matrix [${rows}, ${k}] is ${packed.dtype} [${packed.shape}]; expected u8 [${matrixBytes(rows, k, format)}]`,
    );
}

/** Packs N rows of floats, as a file holds them, that lie on the device, into rows of a matrix. */
export function packMatrix(
  backend: Backend,
  { rows, source, n }: { rows: NDArray; source: RowSource; n: number },
  to: Matrix,
  placement: RowPlacement,
): void {
  checkMatrix(to, "pack-matrix");
  const last = placement.first + Math.floor((n - 1) / panelRows) * placement.step + ((n - 1) % panelRows);
  const bytes = n * sourceRowBytes(source, to.k);
  if (!floatSources.includes(source) || rows.dtype !== "u8" || sizeOf(rows.shape) < bytes || last >= to.rows)
    throw new ShapeError(
      `pack-matrix: ${n} rows of ${source} are ${rows.dtype} [${rows.shape}] (${bytes} bytes are wanted), the last goes to ${last} of [${to.rows}, ${to.k}]`,
    );
  backend.launch(
    pack,
    { rows, packed: to.packed },
    { n, k: to.k, ...placement, format: matrixFormats[to.format], source: rowSources[source] },
  );
}

/** y [M, K] = rows ids [M] i32 of a matrix; the caller has checked the ids. */
export function matrixRows(cx: OpContext, ids: NDArray, matrix: Matrix, y: NDArray): void {
  checkMatrix(matrix, "matrix-rows");
  const m = sizeOf(ids.shape);
  if (sizeOf(y.shape) !== m * matrix.k)
    throw new ShapeError(`matrix-rows: y is [${y.shape}]; expected [${m}, ${matrix.k}]`);
  cx.backend.launch(
    rowsKernel,
    { ids, weights: matrix.packed, y },
    { m, k: matrix.k, format: matrixFormats[matrix.format] },
  );
}

/**
 * @param x    [M, K] f32
 * @param gain [K] f32 of the norm in front, or null for none
 * @param y    [M, N] f32: overwritten, or added to with end "add"; not x
 * @throws ShapeError where sizes do not fit
 */
export function matrixLinear(
  cx: OpContext,
  x: NDArray,
  gain: NDArray | null,
  matrix: Matrix,
  y: NDArray,
  { end, normEps }: { end: LinearEnd; normEps: number },
): void {
  checkMatrix(matrix, "matrix-linear");
  const [m, k] = x.shape;
  const n = y.shape[y.shape.length - 1];
  if (
    k !== matrix.k ||
    sizeOf(y.shape) !== m * n ||
    weightRows(n, end) !== matrix.rows ||
    (gain && sizeOf(gain.shape) !== k) ||
    x.buffer === y.buffer
  )
    throw new ShapeError(
      `matrix-linear: x is [${x.shape}], y [${y.shape}], the matrix [${matrix.rows}, ${matrix.k}]; with end "${end}" expected a matrix of [${weightRows(n, end)}, ${k}], and x and y apart`,
    );
  const ready = m > fewRows ? cx.create([m, Math.ceil(k / 128) * 128 + 16], "f32") : null;
  const product = m > manyRows && end !== "store" ? cx.create([m, matrix.rows], "f32") : null;
  cx.backend.launch(
    kernel,
    { x, gain, weights: matrix.packed, y, ready, product },
    { m, n, k, normEps, format: matrixFormats[matrix.format], end: ends[end] },
  );
}
