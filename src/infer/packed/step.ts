/**
 * One pass of some rows through the model, as kernels over a workspace: embedding, layers, head. It knows no sequences: the
 * plan in the workspace says where each row's keys and values lie (ops/cached-attention). Called by engine.ts, which records
 * the steps of few rows and runs those of many.
 */
import type { Backend, NDArray } from "../../backends/backend.ts";
import { finalNormEpsOf, headWidth, type ModelConfig } from "../../model/index.ts";
import { attention } from "../../ops/attention/index.ts";
import { cacheAppend } from "../../ops/cache-append/index.ts";
import { cachedAttention, gatherCache } from "../../ops/cached-attention/index.ts";
import { matrixLinear, matrixRows } from "../../ops/matrix-linear/index.ts";
import type { OpContext } from "../../ops/op.ts";
import type { LinearEnd } from "../../ops/packed-linear/index.ts";
import { contextOver, DeviceArrays } from "./device-arrays.ts";
import { type PackedEngineOptions, programRows } from "./options.ts";
import type { PagePool } from "./pages.ts";
import { applyWeight, type LinearWeight } from "./linear.ts";
import type { PackedWeights } from "./weights.ts";
import { rowsBytes, type Workspace } from "./workspace.ts";

/** Rows of one sequence, next to each other: `count` of them, from position `start` on. */
export interface Span {
  count: number;
  start: number;
}

export interface StepParts {
  backend: Backend;
  config: ModelConfig;
  weights: PackedWeights;
  pool: PagePool;
  options: Pick<Required<PackedEngineOptions>, "floatActivations" | "gatherAbove">;
  /** The first position that the token at a position sees. */
  firstSeen(position: number): number;
}

/** Rows of floats as a matrix whose rows can be chosen. */
const bytesOfRows = (array: NDArray, rows: number, width: number): NDArray => ({
  ...array,
  dtype: "u8",
  shape: [rowsBytes(rows, width)],
});

export class ModelStep {
  constructor(private readonly parts: StepParts) {}

  /**
   * Embedding and layers; the last layer's states are left in w.x.
   *
   * @param spans short ones first, those of more than `gatherAbove` rows behind them; null: all rows attend over pages, and
   *   what kernels need besides lives as long as the workspace, for a program
   * @param wanted the last layer's states are wanted only of the first so many rows in w.select, and left in w.chosen (of the
   *   others only keys and values are, for the cache); null: of all
   */
  runBody(w: Workspace, rows: number, spans: readonly Span[] | null, wanted: number | null = null): void {
    const { backend, config, weights, options } = this.parts;
    const { normEps, activation } = config;
    /** Makes what kernels need besides; it is freed behind each, and in a program with the workspace. */
    const within = (body: (arrays: DeviceArrays) => void): void => {
      if (spans === null) {
        body(w.arrays);
        return;
      }
      const arrays = new DeviceArrays(backend);
      try {
        body(arrays);
      } finally {
        arrays.dispose();
      }
    };
    let partial: NDArray | null = null;
    within((arrays) => matrixRows(contextOver(arrays), w.ids, weights.embedding, w.x));
    for (const [i, layer] of weights.layers.entries()) {
      type Apply = [x: NDArray, gain: NDArray | null, weight: LinearWeight, y: NDArray, end: LinearEnd];
      const apply = (idle: readonly NDArray[], ...[x, gain, weight, y, end]: Apply) =>
        within((arrays) => {
          const cx = contextOver(arrays, spans === null ? [] : idle);
          const { floatActivations } = options;
          applyWeight(cx, x, gain, weight, y, { end, normEps, floatActivations });
        });
      apply([w.mixed, w.hidden], w.x, layer.attentionNorm, layer.qkv, w.qkv, "store");
      if (spans === null) {
        // One workspace for all layers.
        const cx = contextOver(w.arrays);
        const shared: OpContext = { ...cx, create: (shape, dtype) => (partial ??= cx.create(shape, dtype)) };
        this.attendOverPages(shared, w, i, rows);
      } else {
        within((arrays) => this.attend(arrays, w, i, rows, spans));
      }
      if (wanted !== null && i === weights.layers.length - 1) {
        within((arrays) => {
          const few = wanted === 0 ? null : this.chooseRows(arrays, w, wanted, rows);
          if (!few) return;
          apply([], few.mixed, layer.attentionSubNorm, layer.output, few.x, "add");
          apply([], few.x, layer.feedForwardNorm, layer.gateUp, few.hidden, activation);
          apply([], few.hidden, layer.feedForwardSubNorm, layer.down, few.x, "add");
        });
        return;
      }
      apply([w.wide, w.hidden], w.mixed, layer.attentionSubNorm, layer.output, w.x, "add");
      apply([w.mixed, w.wide], w.x, layer.feedForwardNorm, layer.gateUp, w.hidden, activation);
      apply([w.mixed, w.wide], w.hidden, layer.feedForwardSubNorm, layer.down, w.x, "add");
    }
  }

  private attendOverPages(cx: OpContext, w: Workspace, layer: number, rows: number): void {
    const { pool, config } = this.parts;
    const part = (array: NDArray) => ({ ...array, shape: [rows, ...array.shape.slice(1)] });
    cachedAttention(
      cx,
      { qkv: part(w.qkv), angles: part(w.angles), plan: w.plan },
      pool.layers[layer],
      part(w.mixed),
      pool.shape,
      config.contextLength,
    );
  }

  private attend(arrays: DeviceArrays, w: Workspace, layer: number, rows: number, spans: readonly Span[]): void {
    const { backend, pool, options, config, firstSeen } = this.parts;
    const { heads, kvHeads } = config;
    const D = headWidth(config);
    const cx = contextOver(arrays);
    const short = spans.filter(({ count }) => count <= options.gatherAbove);
    let row = short.reduce((sum, { count }) => sum + count, 0);
    if (row > 0) this.attendOverPages(cx, w, layer, row);
    for (const { count, start } of spans.slice(short.length)) {
      const from = firstSeen(start);
      const seen = start + count - from;
      const q = contextOver(arrays, [w.hidden]).create([1, count, heads * D], "f32");
      const [k, v] = [w.keys, w.values].map((array) => ({ ...array, shape: [1, seen, kvHeads * D] }));
      gatherCache(cx, w, pool.layers[layer], { q, k, v }, pool.shape, { from, firstRow: row });
      const inputs = [q, k, v];
      if (firstSeen(start + count - 1) > from) {
        const bounds = arrays.create([1, count], "i32");
        const first = Int32Array.from({ length: count }, (_, i) => firstSeen(start + i) - from);
        backend.upload(bounds.buffer, first);
        inputs.push(bounds);
      }
      // A sequence alone: straight to where it is to go.
      const straight = count === rows ? contextOver(arrays, [w.mixed]) : cx;
      const [mixed] = attention.forward(straight, inputs, { heads, kvHeads, start: start - from }).outputs;
      if (mixed.buffer !== w.mixed.buffer) cacheAppend(cx, { ...w.mixed, shape: [1, ...w.mixed.shape] }, mixed, row);
      row += count;
    }
  }

  /** The first `wanted` rows in w.select: of w.x in w.chosen, of w.mixed beside it; and room for their hidden activations. */
  private chooseRows(
    arrays: DeviceArrays,
    w: Workspace,
    wanted: number,
    rows: number,
  ): Record<"x" | "mixed" | "hidden", NDArray> {
    const { width, hiddenWidth, heads } = this.parts.config;
    const k = heads * headWidth(this.parts.config);
    const cx = contextOver(arrays, [w.wide, w.hidden]);
    const mixed = cx.create([wanted, k], "f32");
    const x = { ...w.chosen, shape: [wanted, width] };
    const select = { ...w.select, shape: [wanted] };
    matrixRows(cx, select, { packed: bytesOfRows(w.mixed, rows, k), rows, k, format: "f32" }, mixed);
    matrixRows(cx, select, { packed: bytesOfRows(w.x, rows, width), rows, k: width, format: "f32" }, x);
    return { x, mixed, hidden: cx.create([wanted, hiddenWidth], "f32") };
  }

  /**
   * Final norm and head of the first `wanted` rows in w.select, to w.logits.
   *
   * @param chosen they are in w.chosen already, as runBody leaves them where it is told what is wanted
   */
  runHead(w: Workspace, wanted: number, rows: number, chosen = false): void {
    const { backend, config, weights } = this.parts;
    const { width, vocabSize } = config;
    const normEps = finalNormEpsOf(config);
    const arrays = new DeviceArrays(backend);
    try {
      const cx = contextOver(wanted > programRows ? arrays : w.arrays);
      const states = { ...w.chosen, shape: [wanted, width] };
      const select = { ...w.select, shape: [wanted] };
      if (!chosen)
        matrixRows(cx, select, { packed: bytesOfRows(w.x, rows, width), rows, k: width, format: "f32" }, states);
      const logits = { ...w.logits, shape: [wanted, vocabSize] };
      matrixLinear(cx, states, weights.finalNorm, weights.head, logits, { end: "store", normEps });
    } finally {
      arrays.dispose();
    }
  }
}
