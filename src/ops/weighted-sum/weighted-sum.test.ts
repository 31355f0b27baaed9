// Oracles: reference.ts, to the bit (one product and one sum a term); PyTorch (fixtures.json, in float64, made by
// fixtures.py); a finite difference. Bound to PyTorch: three float32 roundings of numbers under 4.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { gather, weightedSum } from "./index.ts";
import { addScaled } from "./reference.ts";

forEachBackend((backend) => {
  test.for(cases)("equals the reference for $name", async ({ size: n, weights, inputs }) => {
    const device = await backend.get();
    const there = inputs.map((_, i) => normals(n, 700 + i));
    const dy = normals(n, 690);
    const { outputs, gradients } = runOp(
      device,
      weightedSum,
      inputs.map((x) => place(device, [n], "f32", x)),
      { weights },
      { outputGradients: [place(device, [n], "f32", dy)], accumulateInto: there.map((t, i) => (i === 1 ? t : null)) },
    );
    const y = new Float32Array(n);
    for (const [i, x] of inputs.entries())
      addScaled(x, y, { n, offset: 0, factor: weights[i], accumulate: i === 0 ? 0 : 1 });
    expectClose(await fetchArray(device, outputs[0]), y, {}, "y");
    for (const [i, factor] of weights.entries()) {
      const dx = Float32Array.from(there[i]);
      addScaled(dy, dx, { n, offset: 0, factor, accumulate: i === 1 ? 1 : 0 });
      expectClose(await fetchArray(device, gradients[i]!), dx, {}, `gradient ${i}`);
    }
  });

  test("gathers arrays of several sizes into one, to the bit", async () => {
    const device = await backend.get();
    const arrays = [1, 17, 1, 33].map((n, i) => normals(n, 720 + i));
    const into = place(device, [52], "f32", new Float32Array(52).fill(Number.NaN));
    const cx = { backend: device, precision: "fp32" as const, create: () => expect.fail("no scratch") };
    gather(
      cx,
      arrays.map((x) => place(device, [x.length], "f32", x)),
      into,
    );
    expect([...(await fetchArray(device, into))]).toEqual(arrays.flatMap((x) => [...x]));
  });
});

test("reference: agrees with PyTorch", async () => {
  const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
  const device = createReferenceBackend();
  const { outputs, gradients } = runOp(
    device,
    weightedSum,
    f.arrays.map((x: number[]) => place(device, [5], "f32", x)),
    { weights: f.weights },
    { outputGradients: [place(device, [5], "f32", f.dy)] },
  );
  expectClose(await fetchArray(device, outputs[0]), f.y, { abs: 1e-6 }, "y");
  for (const [i, expected] of f.gradients.entries())
    expectClose(await fetchArray(device, gradients[i]!), expected, { abs: 1e-6 }, `gradient ${i}`);
});

test("the gradient agrees with a finite difference", async () => {
  const inputs = [1, 2].map((seed) => ({ shape: [4], data: normals(4, seed) }));
  await checkGradients(weightedSum, { weights: [0.5, -3] }, inputs);
});

test("refuses inputs that do not fit: shapes, weights, what is no number", () => {
  const device = createReferenceBackend();
  const [a, b] = [2, 3].map((n) => place(device, [n], "f32", new Float32Array(n)));
  expect(() => runOp(device, weightedSum, [a, b], { weights: [1, 1] })).toThrow(/inputs are \[2\] and \[3\]/);
  expect(() => runOp(device, weightedSum, [a], { weights: [1, 1] })).toThrow(/1 inputs and 2 weights/);
  expect(() => runOp(device, weightedSum, [a], { weights: [Number.NaN] })).toThrow(/a weight is NaN/);
  const cx = { backend: device, precision: "fp32" as const, create: () => a };
  expect(() => gather(cx, [a, a], b)).toThrow(/the arrays have 4 values, into is \[3\]/);
});
