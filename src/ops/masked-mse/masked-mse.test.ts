// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json, in float64, made by
// fixtures.py) and to a finite difference. Bounds: sums in float64, each stored value rounded once.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { type Case, cases } from "./cases.ts";
import { maskedMse } from "./index.ts";

async function run(backend: Backend, c: Omit<Case, "name">, into?: Float32Array, seed = 0.75) {
  const inputs = [
    place(backend, [...c.lead, c.width], "f32", c.x),
    place(backend, c.lead, "i32", c.targets),
    place(backend, [...c.lead, c.width], "f32", c.y),
  ];
  const { outputs, gradients } = runOp(
    backend,
    maskedMse,
    inputs,
    {},
    {
      outputGradients: [place(backend, [1], "f32", [seed])],
      wanted: [true, false, false],
      accumulateInto: into && [into],
    },
  );
  return Promise.all([outputs[0], gradients[0]!].map((a) => fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    for (const into of [undefined, normals(c.x.length, 77)]) {
      const [loss, gradient] = await run(createReferenceBackend(), c, into);
      const actual = await run(await backend.get(), c, into);
      expectClose(actual[0], loss, { rel: 1e-6 }, "loss");
      expectClose(actual[1], gradient, { abs: 1e-7, rel: 1e-6 }, "gradient");
    }
  });
});

test("reference: agrees with PyTorch", async () => {
  const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
  const [x, y] = [Float32Array.from(f.x), Float32Array.from(f.y)];
  const c = { lead: [5], width: 7, x, y, targets: Int32Array.from(f.targets) };
  const [loss, gradient] = await run(createReferenceBackend(), c, undefined, 1);
  expectClose(loss, [f.loss], { rel: 1e-6 }, "loss");
  expectClose(gradient, f.gradient, { abs: 1e-7, rel: 1e-6 }, "gradient");
});

test("the gradient agrees with a finite difference", async () => {
  await checkGradients(maskedMse, {}, [
    { shape: [5, 7], data: normals(35, 810) },
    { shape: [5], data: [3, -100, 0, 6, 2], dtype: "i32" },
    { shape: [5, 7], data: normals(35, 811), differentiable: false },
  ]);
});

test("refuses states of different shapes, naming them", () => {
  const backend = createReferenceBackend();
  const make = (...shape: number[]) => place(backend, shape, "f32", new Float32Array(shape.reduce((a, b) => a * b, 1)));
  const inputs = [make(2, 4), place(backend, [2], "i32", [0, 0]), make(2, 5)];
  expect(() => runOp(backend, maskedMse, inputs, {})).toThrow("x is [2,4], y is [2,5]");
});
