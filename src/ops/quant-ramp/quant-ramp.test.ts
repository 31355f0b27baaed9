// Oracles: reference.ts, to the bit (three float32 operations); a layer's outputs and gradients by PyTorch (fixtures.json, in
// float64, made by fixtures.py). Bound there: sums of 10 float32 products of numbers up to 3, 10 · 2^-23 · 9 · 10 at most.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { quantizeActivations } from "../activation-quant/reference.ts";
import { matmul } from "../matmul/index.ts";
import { weightQuant } from "../weight-quant/index.ts";
import { quantizeWeights } from "../weight-quant/reference.ts";
import { cases } from "./cases.ts";
import { rampActivations, rampWeights } from "./index.ts";
import * as reference from "./reference.ts";

type Matrix = number[][];
const torch = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8")) as {
  x: Matrix;
  w: Matrix;
  dy: Matrix;
  cases: { lambda: number; y: Matrix; dx: Matrix; dw: Matrix }[];
};

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async ({ rows, width, lambda, x }) => {
    const device = await backend.get();
    const X = place(device, [rows, width], "f32", x);
    const codes = new Int8Array(x.length);
    const scale = new Float32Array(rows);
    quantizeActivations(x, codes, scale, new Int32Array(rows), rows, width, 1e-5);
    const y = new Float32Array(x.length);
    reference.rampActivations(x, codes, scale, y, { rows, width, lambda });
    const { outputs } = runOp(device, rampActivations, [X], { lambda });
    expectClose(await fetchArray(device, outputs[0]), y, {}, "activations");
    if (lambda === 0) expectClose(y, x, {}, "nothing quantised");

    const weightCodes = new Uint8Array(x.length);
    const weightScale = new Float32Array(1);
    quantizeWeights(x, weightCodes, weightScale, "add", 1e-6);
    reference.rampWeights(x, weightCodes, weightScale, y, { size: x.length, lambda });
    const places = [X, place(device, [rows, width], "u8", weightCodes), place(device, [1], "f32", weightScale)];
    const weights = runOp(device, rampWeights, places, { lambda }).outputs[0];
    expectClose(await fetchArray(device, weights), y, {}, "weights");
  });

  test.for(torch.cases)("a layer at lambda $lambda has PyTorch's output and gradients", async (wanted) => {
    const { lambda } = wanted;
    const device = await backend.get();
    const matrix = (values: Matrix) =>
      place(device, [values.length, values[0].length], "f32", Float32Array.from(values.flat()));
    const [x, w, dy] = [torch.x, torch.w, torch.dy].map(matrix);
    const [codes, scale] = runOp(device, weightQuant, [w], { rule: "clamp", eps: 1e-5 }).outputs;
    const [xr] = runOp(device, rampActivations, [x], { lambda }).outputs;
    const [wr] = runOp(device, rampWeights, [w, codes, scale], { lambda }).outputs;
    const { outputs, gradients } = runOp(device, matmul, [xr, wr], {}, { outputGradients: [dy] });
    expectClose(await fetchArray(device, outputs[0]), wanted.y.flat(), { abs: 1e-4 }, "y");
    // The gradients of what was ramped are those of x and w.
    for (const [op, inputs, gradient, expected] of [
      [rampActivations, [x], gradients[0], wanted.dx],
      [rampWeights, [w, codes, scale], gradients[1], wanted.dw],
    ] as const) {
      const [passed] = runOp(device, op, inputs, { lambda }, { outputGradients: [gradient!] }).gradients;
      expect(passed).toBe(gradient);
      expectClose(await fetchArray(device, passed!), expected.flat(), { abs: 1e-4 }, op.name);
    }
  });
});

test("refuses a lambda outside 0 to 1, and codes of another shape", () => {
  const device = createReferenceBackend();
  const x = place(device, [2, 3], "f32", new Float32Array(6));
  const codes = place(device, [3, 2], "u8", new Uint8Array(6));
  const scale = place(device, [1], "f32", new Float32Array(1));
  for (const lambda of [-0.1, 1.5, Number.NaN])
    expect(() => runOp(device, rampActivations, [x], { lambda })).toThrow(/lambda is .*; expected 0 to 1/);
  expect(() => runOp(device, rampWeights, [x, codes, scale], { lambda: 0.5 })).toThrow(
    /expected u8 codes of w's shape/,
  );
});
