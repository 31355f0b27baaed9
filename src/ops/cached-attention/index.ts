/**
 * Attention over a paged cache of keys and values, for many sequences at once. Inference only. The definition, and the
 * layout of pages and of the plan, are in reference.ts.
 */
import { type Backend, defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import {
  cacheCopy,
  cacheFormats,
  type CacheFormat,
  cacheGather,
  cachedAttention as reference,
  pageHeadBytes,
} from "./reference.ts";

export { type CacheFormat, pageTokens } from "./reference.ts";

/** Keys of a unit of work; as kChunk in kernel.cc. */
const chunkKeys = 256;

const attend = defineKernel({
  name: "cached_attention",
  buffers: { qkv: "f32", angles: "f32", plan: "i32", keys: "u8", values: "u8", partial: "f32", y: "f32" },
  params: ["rows", "heads", "groups", "width", "format", "chunks", "keysAt", "valuesAt"],
  reference,
});
const gather = defineKernel({
  name: "cache_gather",
  buffers: { qkv: "f32", angles: "f32", plan: "i32", keys: "u8", values: "u8", q: "f32", k: "f32", v: "f32" },
  params: ["rows", "heads", "groups", "width", "format", "from", "count", "firstRow", "keysAt", "valuesAt"],
  reference: cacheGather,
});
const copy = defineKernel({
  name: "cache_copy",
  buffers: { ids: "i32", from: "u8", to: "u8" },
  params: ["count", "bytes", "fromAt", "toAt"],
  reference: (a, p) => cacheCopy(a.ids, a.from.subarray(p.fromAt), a.to.subarray(p.toAt), p.count, p.bytes),
});

export interface CacheShape {
  heads: number;
  kvHeads: number;
  headWidth: number;
  format: CacheFormat;
}

/**
 * Pages of keys or of values of one layer: u8, pages of kvHeads · pageHeadBytes, from byte `at` on, a multiple of 64; and 64
 * bytes more, for kernels read whole vectors.
 */
export interface Pages {
  readonly array: NDArray;
  readonly at: number;
}
export interface LayerPages {
  readonly keys: Pages;
  readonly values: Pages;
}

const placed = ({ keys, values }: LayerPages) =>
  [
    { keys: keys.array, values: values.array },
    { keysAt: keys.at, valuesAt: values.at },
  ] as const;

export const pageBytes = ({ kvHeads, headWidth, format }: CacheShape): number =>
  kvHeads * pageHeadBytes(headWidth, format);

const sizesOf = (rows: number, { heads, kvHeads, headWidth, format }: CacheShape) => ({
  rows,
  heads,
  groups: kvHeads,
  width: headWidth,
  format: cacheFormats[format],
});

function check(what: string, qkv: NDArray, angles: NDArray, plan: NDArray, shape: CacheShape): number {
  const rows = qkv.shape[0];
  const { heads, kvHeads, headWidth } = shape;
  if (
    sizeOf(qkv.shape) !== rows * (heads + 2 * kvHeads) * headWidth ||
    sizeOf(angles.shape) !== rows * headWidth ||
    sizeOf(plan.shape) < 5 * rows ||
    heads % kvHeads !== 0 ||
    headWidth % 2 !== 0
  )
    throw new ShapeError(
      `${what}: qkv is [${qkv.shape}], angles [${angles.shape}], plan [${plan.shape}], with ${heads} and ${kvHeads} heads of width ${headWidth}`,
    );
  return rows;
}

/**
 * Keeps the new tokens' keys and values, and attends.
 *
 * @param qkv    [M, (H + 2G) · D]
 * @param angles [M, D]
 * @param plan   i32: four numbers for each row, then lists of pages; positions and pages are the caller's to get right
 * @param y      [M, H·D]
 * @param longest the most positions that a row of these may see, which sizes the workspace
 */
export function cachedAttention(
  cx: OpContext,
  { qkv, angles, plan }: Record<"qkv" | "angles" | "plan", NDArray>,
  pages: LayerPages,
  y: NDArray,
  shape: CacheShape,
  longest: number,
): void {
  const rows = check("cached-attention", qkv, angles, plan, shape);
  if (sizeOf(y.shape) !== rows * shape.heads * shape.headWidth)
    throw new ShapeError(`cached-attention: y is [${y.shape}] for ${rows} rows`);
  // One more: a window may begin within a chunk.
  const chunks = Math.ceil(longest / chunkKeys) + 1;
  const partial = cx.create([rows, shape.heads, chunks, shape.headWidth + 2], "f32");
  const [arrays, places] = placed(pages);
  cx.backend.launch(
    attend,
    { qkv, angles, plan, ...arrays, partial, y },
    { ...sizesOf(rows, shape), chunks, ...places },
  );
}

/**
 * Keeps the new tokens of one sequence, rows firstRow on of qkv; gives q [rows, H·D] turned, and k and v [count, G·D] of its
 * positions from `from` on.
 */
export function gatherCache(
  cx: OpContext,
  { qkv, angles, plan }: Record<"qkv" | "angles" | "plan", NDArray>,
  pages: LayerPages,
  { q, k, v }: Record<"q" | "k" | "v", NDArray>,
  shape: CacheShape,
  { from, firstRow }: { from: number; firstRow: number },
): void {
  const all = check("cache-gather", qkv, angles, plan, shape);
  const rows = sizeOf(q.shape) / (shape.heads * shape.headWidth);
  const count = sizeOf(k.shape) / (shape.kvHeads * shape.headWidth);
  if (firstRow + rows > all) throw new ShapeError(`cache-gather: rows ${firstRow} to ${firstRow + rows} of ${all}`);
  const [arrays, places] = placed(pages);
  cx.backend.launch(
    gather,
    { qkv, angles, plan, ...arrays, q, k, v },
    { ...sizesOf(rows, shape), from, count, firstRow, ...places },
  );
}

/** Copies pages of one buffer to another, or to others of its own: ids i32 [count, 2], from and to. */
export function copyPages(backend: Backend, ids: NDArray, from: Pages, to: Pages, bytes: number): void {
  backend.launch(
    copy,
    { ids, from: from.array, to: to.array },
    { count: sizeOf(ids.shape) / 2, bytes, fromAt: from.at, toAt: to.at },
  );
}
