// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch's autograd (fixtures.json, in float64, made by
// fixtures.py) and to a finite difference. Bounds: scores lie in -1..1, off by 1e-7 for each of a part's products; the gradient
// adds T of them in float32.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { type Case, cases } from "./cases.ts";
import { relationKl } from "./index.ts";

async function run(backend: Backend, c: Omit<Case, "name">, into?: Float32Array, seed = 0.75) {
  const [B, T, W, teacherW, parts] = c.sizes;
  const inputs = [
    place(backend, [B, T, W], "f32", c.student),
    place(backend, [B, T], "i32", c.targets),
    place(backend, [B, T, teacherW], "f32", c.teacher),
  ];
  const { outputs, gradients } = runOp(
    backend,
    relationKl,
    inputs,
    { parts },
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
    for (const into of [undefined, normals(c.student.length, 77)]) {
      const [loss, gradient] = await run(createReferenceBackend(), c, into);
      const actual = await run(await backend.get(), c, into);
      expectClose(actual[0], loss, { abs: 1e-6, rel: 4e-6 }, "loss");
      // A state of length 0 has a gradient of 1e12: relative there.
      expectClose(actual[1], gradient, { abs: 1e-6, rel: 1e-5 }, "gradient");
    }
  });
});

test("reference: agrees with PyTorch", async () => {
  const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
  const c = {
    sizes: f.sizes,
    student: Float32Array.from(f.student),
    teacher: Float32Array.from(f.teacher),
    targets: Int32Array.from(f.targets),
  };
  const [loss, gradient] = await run(createReferenceBackend(), c, undefined, 1);
  expectClose(loss, [f.loss], { rel: 1e-6 }, "loss");
  expectClose(gradient, f.gradient, { abs: 1e-6, rel: 1e-6 }, "gradient");
});

test("the gradient agrees with a finite difference", async () => {
  await checkGradients(relationKl, { parts: 2 }, [
    { shape: [1, 4, 6], data: normals(24, 710) },
    { shape: [1, 4], data: [3, -100, 0, 2], dtype: "i32" },
    { shape: [1, 4, 4], data: normals(16, 711), differentiable: false },
  ]);
});

test("refuses parts that do not divide both widths, naming them", () => {
  const backend = createReferenceBackend();
  const make = (...shape: number[]) => place(backend, shape, "f32", new Float32Array(shape.reduce((a, b) => a * b, 1)));
  const inputs = [make(1, 2, 4), place(backend, [1, 2], "i32", [0, 0]), make(1, 2, 6)];
  expect(() => runOp(backend, relationKl, inputs, { parts: 4 })).toThrow("4 parts do not divide both widths");
});
