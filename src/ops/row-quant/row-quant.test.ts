// Oracles: reference.ts, to the bit; PyTorch's fake_quantize_per_channel_affine and its gradient, to the bit (fixtures.json,
// made by fixtures.py): every step is one float32 operation in both.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { byRounding, needs } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { rowQuant } from "./index.ts";
import { quantizeRows } from "./reference.ts";

type Matrix = number[][];
const torch: { w: Matrix; dy: Matrix; cases: { bits: number; y: Matrix; dw: Matrix }[] } = readFixtures("row-quant");

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async ({ rows, width, bits, w }) => {
    const device = await backend.get();
    const y = new Float32Array(w.length);
    quantizeRows(w, y, { rows, width, bits });
    const { outputs } = runOp(device, rowQuant, [place(device, [rows, width], "f32", w)], { bits });
    expectClose(await fetchArray(device, outputs[0]), y, byRounding(device, {}, { abs: 1e-6 }), "values");
    // A level each: no row has more than 2^b - 1 values.
    for (let n = 0; n < rows; n++)
      expect(new Set(y.subarray(n * width, (n + 1) * width).map((v) => v + 0)).size).toBeLessThanOrEqual(2 ** bits - 1);
  });

  test.for(torch.cases)("has PyTorch's values and gradient at $bits bits", async ({ bits, y, dw }) => {
    const device = await backend.get();
    const matrix = (values: Matrix) =>
      place(device, [values.length, values[0].length], "f32", Float32Array.from(values.flat()));
    const gradient = matrix(torch.dy);
    const run = runOp(device, rowQuant, [matrix(torch.w)], { bits }, { outputGradients: [gradient] });
    expectClose(await fetchArray(device, run.outputs[0]), y.flat(), byRounding(device, {}, { abs: 1e-6 }), "y");
    expect(run.gradients[0]).toBe(gradient);
    expectClose(await fetchArray(device, run.gradients[0]!), dw.flat(), {}, "dw");
  });

  test("gives NaN for a row that is not finite, and leaves the others", async ({ skip }) => {
    const device = await backend.get();
    needs(device, skip, "ieee");
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const w = place(device, [2, 2], "f32", [1, bad, -1, 0.2]);
      const y = await fetchArray(device, runOp(device, rowQuant, [w], { bits: 8 }).outputs[0]);
      expect([...y.subarray(0, 2)]).toEqual([Number.NaN, Number.NaN]);
      expect(y[2]).toBe(-1);
    }
  });
});

test("refuses bits out of range, and what is not a matrix", () => {
  const device = createReferenceBackend();
  const w = place(device, [2, 2], "f32", [1, 2, 3, 4]);
  for (const bits of [1, 9, 2.5, Number.NaN])
    expect(() => runOp(device, rowQuant, [w], { bits })).toThrow(/bits is .*; expected 2 to 8/);
  expect(() => runOp(device, rowQuant, [place(device, [4], "f32", [1, 2, 3, 4])], { bits: 8 })).toThrow(
    "row-quant: w is f32 [4]; expected f32 [N, K]",
  );
});
