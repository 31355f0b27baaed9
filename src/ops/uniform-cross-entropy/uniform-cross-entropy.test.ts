// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json, in float64, made by
// fixtures.py) and to a finite difference. Bounds: as cross-entropy's, and the mean below the
// largest is a float32 sum in V / lanes additions; a gradient is the difference of two that may nearly be equal.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { crossEntropy } from "../cross-entropy/index.ts";
import { cases } from "./cases.ts";
import { uniformCrossEntropy } from "./index.ts";

type Case = (typeof cases)[number];

async function run(backend: Backend, c: Case, accumulateInto?: Float32Array) {
  const logits = place(backend, [...c.lead, c.classes], "f32", c.logits);
  const { outputs, gradients } = runOp(
    backend,
    uniformCrossEntropy,
    [logits, place(backend, c.lead, "i32", c.targets)],
    {},
    {
      outputGradients: [place(backend, [1], "f32", [0.75])],
      wanted: [true, false],
      accumulateInto: accumulateInto && [accumulateInto],
    },
  );
  expect([...(await fetchArray(backend, logits))]).toEqual([...c.logits]);
  return Promise.all([outputs[0], gradients[0]!].map((a) => fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, and leaves the logits alone", async (c) => {
    const there = normals(c.logits.length, 77);
    for (const into of [undefined, there]) {
      const [loss, dlogits] = await run(createReferenceBackend(), c, into);
      const actual = await run(await backend.get(), c, into);
      expectClose(actual[0], loss, { abs: 1e-6, rel: 2e-6 }, "loss");
      expectClose(actual[1], dlogits, { abs: 1e-6, rel: 2e-6 }, "dlogits");
    }
  });
});

test("reference: alone, and as a part of label smoothing, agrees with PyTorch's cross_entropy(label_smoothing)", async () => {
  const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
  const backend = createReferenceBackend();
  const both = [crossEntropy, uniformCrossEntropy].map(async (op) => {
    const { outputs, gradients } = runOp(
      backend,
      op,
      [place(backend, [6, 11], "f32", f.logits.flat()), place(backend, [6], "i32", f.targets)],
      {},
      { outputGradients: [place(backend, [1], "f32", [1]), null], wanted: [true, false] },
    );
    return { loss: (await fetchArray(backend, outputs[0]))[0], dlogits: await fetchArray(backend, gradients[0]!) };
  });
  const [target, uniform] = await Promise.all(both);
  for (const { smoothing, loss, dlogits } of f.cases) {
    expectClose([(1 - smoothing) * target.loss + smoothing * uniform.loss], [loss], { rel: 1e-6 }, "loss");
    const summed = Float32Array.from(uniform.dlogits, (d, i) => smoothing * d + (1 - smoothing) * target.dlogits[i]);
    expectClose(summed, dlogits.flat(), { abs: 1e-7 }, "dlogits");
  }
});

test("the gradient agrees with a finite difference", async () => {
  await checkGradients(uniformCrossEntropy, {}, [
    { shape: [5, 7], data: normals(35, 410) },
    { shape: [5], data: [3, -100, 0, 6, 2], dtype: "i32" },
  ]);
});

test("refuses targets of another shape, naming both", () => {
  const backend = createReferenceBackend();
  const logits = place(backend, [2, 3, 4], "f32", new Float32Array(24));
  const targets = place(backend, [6], "i32", new Int32Array(6));
  expect(() => runOp(backend, uniformCrossEntropy, [logits, targets], {})).toThrow(
    "uniform-cross-entropy: logits are [2,3,4], targets are i32 [6]; expected logits [..., V] and targets i32 [2,3]",
  );
});
