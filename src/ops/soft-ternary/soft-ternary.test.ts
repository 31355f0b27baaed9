// Oracles: reference.ts, itself held to PyTorch's autograd in float64 (fixtures.json, made by fixtures.py), to a finite
// difference, and to the ternary quantizer that it becomes at tau -> 0.
// Bound: exponents up to 4 |u| / tau are rounded in float32 alike, exp is within 2 ulp, the rest some ten operations: 2e-6 of
// the scale for y. A slope is at most 1 / (2 tau) and its terms add up without cancellation: 2e-6 of that, and of dy.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { bySums } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { Op } from "../op.ts";
import { weightQuant } from "../weight-quant/index.ts";
import { cases } from "./cases.ts";
import { type SoftTernaryParams, softTernary } from "./index.ts";

type Matrix = number[][];
const torch: {
  w: Matrix;
  scale: number;
  dy: Matrix;
  cases: { temperature: number; lambda: number; y: Matrix; dw: Matrix; dw_constant: Matrix }[];
} = readFixtures("soft-ternary");

type Case = (typeof cases)[number] & { throughScale: boolean; before?: Float32Array };

async function run(device: Backend, { rows, width, w, dy, before, ...params }: Case) {
  const scale = w.reduce((sum, x) => sum + Math.abs(x), 0) / w.length;
  const inputs = [place(device, [rows, width], "f32", w), place(device, [1], "f32", [scale])];
  const outputGradients = [place(device, [rows, width], "f32", dy)];
  const { outputs, gradients } = runOp(device, softTernary, inputs, params, {
    outputGradients,
    accumulateInto: before && [before],
  });
  return { y: await fetchArray(device, outputs[0]), dw: await fetchArray(device, gradients[0]!), scale };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, overwriting and accumulating", async (c) => {
    const device = await backend.get();
    for (const throughScale of [false, true])
      for (const before of [undefined, normals(c.w.length, 90)]) {
        const expected = await run(createReferenceBackend(), { ...c, throughScale, before });
        const actual = await run(device, { ...c, throughScale, before });
        expectClose(actual.y, expected.y, { abs: 2e-6, rel: 2e-6 }, "y");
        const steepest = Math.max(1, 1 / (2 * c.temperature));
        const bound = { abs: 2e-6 * steepest, rel: 2e-6 };
        expectClose(actual.dw, expected.dw, bySums(device, bound, { abs: 10 * bound.abs, rel: 1e-5 }), "dw");
      }
  });

  test.for(torch.cases)("has PyTorch's values and gradients at tau $temperature, lambda $lambda", async (wanted) => {
    const device = await backend.get();
    const { temperature, lambda } = wanted;
    const matrix = (values: Matrix) => place(device, [values.length, values[0].length], "f32", values.flat());
    for (const throughScale of [true, false]) {
      const { outputs, gradients } = runOp(
        device,
        softTernary,
        [matrix(torch.w), place(device, [1], "f32", [torch.scale])],
        { temperature, lambda, throughScale },
        { outputGradients: [matrix(torch.dy)] },
      );
      expectClose(await fetchArray(device, outputs[0]), wanted.y.flat(), { abs: 1e-5 }, "y");
      const expected = (throughScale ? wanted.dw : wanted.dw_constant).flat();
      // Exponents, up to 10 / tau, are rounded to float32 here.
      expectClose(await fetchArray(device, gradients[0]!), expected, { abs: 1e-5 / temperature ** 2 }, "dw");
    }
  });

  test("is the ternary quantizer when it is cold, and the weights themselves at lambda 0", async () => {
    const device = await backend.get();
    const w = normals(96, 3);
    const W = place(device, [6, 16], "f32", w);
    const [codes, scale] = runOp(device, weightQuant, [W], { rule: "add", eps: 1e-6 }).outputs;
    const trits = await fetchArray(device, codes);
    const [s] = await fetchArray(device, scale);
    const params = { temperature: 1e-7, throughScale: false };
    const cold = runOp(device, softTernary, [W, scale], { ...params, lambda: 1 }).outputs[0];
    expectClose(
      await fetchArray(device, cold),
      [...trits].map((code) => (code - 1) * s),
      { abs: 1e-6 },
      "cold",
    );
    const none = runOp(device, softTernary, [W, scale], { ...params, lambda: 0 }).outputs[0];
    expectClose(await fetchArray(device, none), w, {}, "lambda 0");
  });
});

/** w alone, its scale computed of it, so that a difference quotient sees both ways. */
const ofWeights: Op<SoftTernaryParams> = {
  name: "soft ternary of weights",
  forward(cx, [w], params) {
    const [, scale] = weightQuant.forward(cx, [w], { rule: "add", eps: 1e-6 }).outputs;
    return softTernary.forward(cx, [w, scale], params);
  },
  backward: softTernary.backward,
};

test.for([
  { temperature: 1, lambda: 1 },
  { temperature: 0.3, lambda: 0.6 },
])("has the gradient of a finite difference at tau $temperature, through the scale and without", async (params) => {
  const w = { shape: [3, 5], data: normals(15, 5).map((x) => (Math.abs(x) < 0.05 ? x + 0.2 : x)) };
  await checkGradients(ofWeights, { ...params, throughScale: true }, [w], { step: 3e-3, abs: 3e-3, rel: 3e-3 });
  const scale = { shape: [1], data: [0.8], differentiable: false };
  await checkGradients(softTernary, { ...params, throughScale: false }, [w, scale], {
    step: 3e-3,
    abs: 3e-3,
    rel: 3e-3,
  });
});

test("refuses a temperature that is not above 0, and a lambda outside 0 to 1", () => {
  const device = createReferenceBackend();
  const inputs = [place(device, [1, 2], "f32", [1, 2]), place(device, [1], "f32", [1])];
  const refused = (params: Partial<SoftTernaryParams>) => () =>
    runOp(device, softTernary, inputs, { temperature: 1, lambda: 1, throughScale: false, ...params });
  for (const temperature of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(refused({ temperature })).toThrow(/temperature is .*above 0/);
  for (const lambda of [-0.1, 1.5, Number.NaN]) expect(refused({ lambda })).toThrow(/lambda is .*; expected 0 to 1/);
});
