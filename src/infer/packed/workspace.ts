/**
 * What one pass of some rows through the packed engine writes. A row takes four stretches: x (the residual), `wide` (q, k and
 * v; where the product makes gate and up apart, they), mixed (attention's output) and hidden (the feed-forward's). Nothing else
 * grows with the rows: at each point one or two of the four are idle, and what a kernel needs besides finds room there (step.ts).
 */
import type { Backend, NDArray } from "../../backends/backend.ts";
import { headWidth, type ModelConfig, planModel } from "../../model/index.ts";
import { hasTernaryWeights } from "../../nn/index.ts";
import { pageTokens } from "../../ops/cached-attention/index.ts";
import { needsProduct, weightRows } from "../../ops/packed-linear/index.ts";
import { DeviceArrays } from "./device-arrays.ts";
import { programRows } from "./options.ts";

export interface Workspace {
  arrays: DeviceArrays;
  ids: NDArray;
  angles: NDArray;
  plan: NDArray;
  x: NDArray;
  /** Over the memory of `wide`. */
  qkv: NDArray;
  wide: NDArray;
  mixed: NDArray;
  hidden: NDArray;
  /** Of attention as in training: the positions that a sequence sees, up to `seen`. */
  keys: NDArray;
  values: NDArray;
  select: NDArray;
  chosen: NDArray;
  logits: NDArray;
}

/** [rows, width] f32, as a matrix whose rows can be chosen: 64 bytes more than its numbers. */
export const rowsBytes = (rows: number, width: number): number => 4 * rows * width + 64;

/** Passes of nearly as many rows ask for the same sizes, and get the memory of the one before. */
const rowStep = 32;

/**
 * @param rows   new tokens, at most
 * @param logits of them, those whose logits are made at a time
 * @param seen   the most positions whose keys and values are gathered; 0: none are
 */
export function createWorkspace(
  backend: Backend,
  config: ModelConfig,
  { rows: most, logits, seen }: { rows: number; logits: number; seen: number },
): Workspace {
  const { width, heads, kvHeads, hiddenWidth, contextLength, vocabSize, activation } = config;
  const D = headWidth(config);
  const rows = most > programRows ? Math.ceil(most / rowStep) * rowStep : most;
  const arrays = new DeviceArrays(backend);
  const create = arrays.create.bind(arrays);
  // A sliding sequence holds a page more at each end of its window, and new tokens' pages.
  const pages = rows * (Math.ceil(contextLength / pageTokens) + 2) + Math.ceil(rows / pageTokens);
  const qkvWidth = (heads + 2 * kvHeads) * D;
  // Gate and up become one as they are made, where the product allows it.
  const { blocks } = planModel(config);
  const ternaryGates = blocks.every(({ gate, up }) => hasTernaryWeights(gate) && hasTernaryWeights(up));
  const wholeGates = !ternaryGates || needsProduct(backend, activation, width);
  const gateUpWidth = rows > programRows && wholeGates ? weightRows(hiddenWidth, activation) : 0;
  try {
    const wide = create([rows, Math.max(qkvWidth, gateUpWidth)], "f32");
    return {
      arrays,
      wide,
      qkv: { ...wide, shape: [rows, qkvWidth] },
      ids: create([rows], "i32"),
      angles: create([rows, D], "f32"),
      plan: create([4 * rows + pages], "i32"),
      x: { ...create([rowsBytes(rows, width) / 4], "f32"), shape: [rows, width] },
      mixed: { ...create([rowsBytes(rows, heads * D) / 4], "f32"), shape: [rows, heads * D] },
      hidden: create([rows, hiddenWidth], "f32"),
      keys: create([Math.max(1, seen), kvHeads * D], "f32"),
      values: create([Math.max(1, seen), kvHeads * D], "f32"),
      select: create([Math.max(1, logits)], "i32"),
      chosen: create([Math.max(1, logits), width], "f32"),
      logits: create([Math.max(1, logits), vocabSize], "f32"),
    };
  } catch (error) {
    arrays.dispose();
    throw error;
  }
}

/** A workspace as one of fewer rows. */
export function withRows(w: Workspace, rows: number): Workspace {
  const cut = (array: NDArray): NDArray => ({ ...array, shape: [rows, ...array.shape.slice(1)] });
  const { ids, angles, x, qkv, wide, mixed, hidden } = w;
  return {
    ...w,
    ids: cut(ids),
    angles: cut(angles),
    x: cut(x),
    qkv: cut(qkv),
    wide: cut(wide),
    mixed: cut(mixed),
    hidden: cut(hidden),
  };
}
