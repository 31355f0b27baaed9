/** Embedding as an op: its contract, kernels and gradient. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { embeddingBackward, embeddingForward } from "./reference.ts";

const forward = defineKernel({
  name: "embedding_forward",
  buffers: { ids: "i32", table: "f32", y: "f32" },
  params: ["count", "vocabulary", "width"],
  sizes: { ids: ["count"], table: ["vocabulary", "width"], y: ["count", "width"] },
  reference: (a, p) => embeddingForward(a.ids, a.table, a.y, p.count, p.vocabulary, p.width),
});

const backward = defineKernel({
  name: "embedding_backward",
  buffers: { ids: "i32", dy: "f32", dtable: "f32" },
  params: ["count", "vocabulary", "width", "accumulate"],
  sizes: { ids: ["count"], dy: ["count", "width"], dtable: ["vocabulary", "width"] },
  reference: (a, p) => embeddingBackward(a.ids, a.dy, a.dtable, p.count, p.vocabulary, p.width, p.accumulate),
});

/**
 * inputs: ids [...] int32, table [V, C]; output: y [..., C].
 *
 * Ids are on the device and are not read back to be checked: one outside 0..V-1 gives a row of NaN and no gradient.
 */
export const embedding: Op = {
  name: "embedding",
  forward(cx, [ids, table]) {
    if (ids.dtype !== "i32") throw new ShapeError(`embedding: ids are ${ids.dtype}; expected i32`);
    if (table.dtype !== "f32" || table.shape.length !== 2)
      throw new ShapeError(`embedding: table is ${table.dtype} [${table.shape}]; expected f32 [V, C]`);
    const [vocabulary, width] = table.shape;
    const y = cx.create([...ids.shape, width], "f32");
    cx.backend.launch(forward, { ids, table, y }, { count: sizeOf(ids.shape), vocabulary, width });
    return { outputs: [y], saved: [ids] };
  },
  backward(cx, [ids], [dy]) {
    if (!dy) return;
    const dtable = cx.gradient(1);
    if (!dtable) return;
    const [vocabulary, width] = dtable.array.shape;
    cx.backend.launch(
      backward,
      { ids, dy, dtable: dtable.array },
      { count: sizeOf(ids.shape), vocabulary, width, accumulate: dtable.accumulate },
    );
  },
};
