/**
 * Puts new keys or values behind those in a cache: cache[b, start + t, :] = rows[b, t, :]. Not differentiable: a cache
 * is for inference.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import type { OpContext } from "../op.ts";
import { cacheAppendReference } from "./reference.ts";

const kernel = defineKernel({
  name: "cache_append",
  buffers: { cache: "f32", rows: "f32" },
  params: ["batch", "capacity", "length", "width", "start"],
  sizes: { cache: ["batch", "capacity", "width"], rows: ["batch", "length", "width"] },
  reference: (a, p) => cacheAppendReference(a.cache, a.rows, p.batch, p.capacity, p.length, p.width, p.start),
});

/**
 * @param cache [B, S, W], changed
 * @param rows  [B, T, W], with start + T <= S
 * @throws ShapeError where they do not fit
 */
export function cacheAppend(cx: OpContext, cache: NDArray, rows: NDArray, start: number): void {
  const [batch, capacity, width] = cache.shape;
  const length = rows.shape[1];
  if (rows.shape.length !== 3 || rows.shape[0] !== batch || rows.shape[2] !== width || start + length > capacity)
    throw new ShapeError(`cache-append: rows [${rows.shape}] do not fit cache [${cache.shape}] from position ${start}`);
  cx.backend.launch(kernel, { cache, rows }, { batch, capacity, length, width, start });
}
