/** Add as an op, and its two helpers that no tape records: accumulate and copy. The definition is in reference.ts. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, type OpContext, sizeOf } from "../op.ts";
import { addAccumulate, addCopy, addForward } from "./reference.ts";

const forward = defineKernel({
  name: "add_forward",
  buffers: { a: "f32", b: "f32", y: "f32" },
  params: ["n"],
  sizes: { a: ["n"], b: ["n"], y: ["n"] },
  reference: (x, p) => addForward(x.a, x.b, x.y, p.n),
});

const accumulateKernel = defineKernel({
  name: "add_accumulate",
  buffers: { into: "f32", from: "f32" },
  params: ["n"],
  sizes: { into: ["n"], from: ["n"] },
  reference: (x, p) => addAccumulate(x.into, x.from, p.n),
});

const copyKernel = defineKernel({
  name: "add_copy",
  buffers: { into: "f32", from: "f32" },
  params: ["n"],
  sizes: { into: ["n"], from: ["n"] },
  reference: (x, p) => addCopy(x.into, x.from, p.n),
});

/** inputs: a and b of one shape; output: y of that shape. No broadcasting. */
export const add: Op = {
  name: "add",
  forward(cx, [a, b]) {
    if (a.shape.length !== b.shape.length || a.shape.some((size, i) => size !== b.shape[i]))
      throw new ShapeError(`add: a is [${a.shape}], b is [${b.shape}]; expected one shape`);
    const y = cx.create(a.shape, "f32");
    cx.backend.launch(forward, { a, b, y }, { n: sizeOf(a.shape) });
    return { outputs: [y], saved: [] };
  },
  backward(cx, _saved, [dy]) {
    if (!dy) return;
    cx.pass(0, dy);
    cx.pass(1, dy);
  },
};

/** into += from. The shapes may differ where the number of elements is one (a reshaped gradient). @throws ShapeError */
export function accumulate(cx: OpContext, into: NDArray, from: NDArray): void {
  cx.backend.launch(accumulateKernel, { into, from }, { n: commonSize("accumulate", into, from) });
}

/** into = from. The shapes may differ where the number of elements is one. @throws ShapeError */
export function copy(cx: OpContext, into: NDArray, from: NDArray): void {
  cx.backend.launch(copyKernel, { into, from }, { n: commonSize("copy", into, from) });
}

function commonSize(name: string, into: NDArray, from: NDArray): number {
  const n = sizeOf(into.shape);
  if (n !== sizeOf(from.shape))
    throw new ShapeError(`${name}: into is [${into.shape}], from is [${from.shape}]; expected as many elements`);
  return n;
}
