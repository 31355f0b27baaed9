/** Fill: sets every element of a float32 array to one value. Not taped; the definition is in reference.ts. */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { fillReference } from "./reference.ts";

const kernel = defineKernel({
  name: "fill",
  buffers: { array: "f32" },
  params: ["n", "value"],
  sizes: { array: ["n"] },
  reference: (a, p) => fillReference(a.array, p.n, p.value),
});

/** array = value, rounded to float32. */
export function fill(cx: OpContext, array: NDArray, value: number): void {
  cx.backend.launch(kernel, { array }, { n: sizeOf(array.shape), value });
}
