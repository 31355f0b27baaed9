/** Rotary position embedding as an op: its contract, kernel and gradient. The definition is in reference.ts. */
import type { NDArray } from "../../backends/backend.ts";
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, type OpContext, sizeOf } from "../op.ts";
import { rotate } from "./reference.ts";

export { RotaryAngles } from "./angles.ts";
export { rotaryTable } from "./reference.ts";

export interface RotaryParams {
  heads: number;
  /** Position of the first token: what a cache already holds. */
  start: number;
}

const kernel = defineKernel({
  name: "rotary",
  buffers: { x: "f32", table: "f32", y: "f32" },
  params: ["rows", "tokens", "heads", "headWidth", "start", "direction", "accumulate"],
  sizes: { x: ["rows", "heads", "headWidth"], y: ["rows", "heads", "headWidth"] },
  reference: (a, p) => rotate(a.x, a.table, a.y, p),
});

function launch(
  cx: OpContext,
  arrays: { x: NDArray; table: NDArray; y: NDArray },
  { heads, start }: RotaryParams,
  direction: 1 | -1,
  accumulate: 0 | 1,
): void {
  const [batch, tokens] = arrays.x.shape;
  const headWidth = arrays.table.shape[1];
  // The kernel divides by the tokens.
  if (!(batch > 0 && tokens > 0)) return;
  cx.backend.launch(kernel, arrays, {
    rows: batch * tokens,
    tokens,
    heads,
    headWidth,
    start,
    direction,
    accumulate,
  });
}

/** inputs: x [B, T, H·D], table [positions, D] (of rotaryTable, no gradient); output: y like x. */
export const rotary: Op<RotaryParams> = {
  name: "rotary",
  forward(cx, [x, table], params) {
    const { heads, start } = params;
    const headWidth = table.shape[1];
    if (x.shape.length !== 3 || table.shape.length !== 2 || x.shape[2] !== heads * headWidth || headWidth % 2 !== 0)
      throw new ShapeError(
        `rotary: x is [${x.shape}], table is [${table.shape}], heads ${heads}; expected x [B, T, ${heads} * D] and table [positions, D] with D even`,
      );
    if (!Number.isInteger(start) || start < 0 || (sizeOf(x.shape) > 0 && start + x.shape[1] > table.shape[0]))
      throw new ShapeError(
        `rotary: ${x.shape[1]} tokens from position ${start} end at ${start + x.shape[1]}, but the table has ${table.shape[0]} positions; is the sequence longer than the model's?`,
      );
    const y = cx.create(x.shape, "f32");
    launch(cx, { x, table, y }, params, 1, 0);
    return { outputs: [y], saved: [table] };
  },
  backward(cx, [table], [dy], params) {
    const dx = dy && cx.gradient(0);
    if (dy && dx) launch(cx, { x: dy, table, y: dx.array }, params, -1, dx.accumulate);
  },
};
