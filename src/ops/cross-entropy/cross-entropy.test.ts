// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json) and to a
// finite difference. Bounds: exp within 2 ulp (native/simd-math.h) and a float32 sum of V terms in V / lanes additions
// give log(sum) to 1e-6 and probabilities to 2e-6 relative; the difference max - x rounds once.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { crossEntropy } from "./index.ts";

type Case = (typeof cases)[number];
const seed = 0.75;

/** What the upstream gradient reaches: the mean, each token's loss, or both. */
async function run(backend: Backend, c: Case, upstream: "mean" | "tokens" | "both" = "mean") {
  const logits = place(backend, [...c.lead, c.classes], "f32", c.logits);
  const dtokenLoss = Float32Array.from(c.targets, (_, m) => Math.sin(m + 1));
  const { outputs, gradients } = runOp(
    backend,
    crossEntropy,
    [logits, place(backend, c.lead, "i32", c.targets)],
    {},
    {
      outputGradients: [
        upstream === "tokens" ? null : place(backend, [1], "f32", [seed]),
        upstream === "mean" ? null : place(backend, c.lead, "f32", dtokenLoss),
      ],
    },
  );
  // Over the logits, in place.
  expect(gradients[0]).toBe(logits);
  return Promise.all([...outputs, gradients[0]!].map((a) => fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    for (const upstream of ["mean", "tokens", "both"] as const) {
      const [loss, tokenLoss, dlogits] = await run(createReferenceBackend(), c, upstream);
      const actual = await run(await backend.get(), c, upstream);
      expectClose(actual[0], loss, { abs: 1e-6, rel: 2e-7 }, "loss");
      expectClose(actual[1], tokenLoss, { abs: 1e-6, rel: 2e-7 }, "tokenLoss");
      expectClose(actual[2], dlogits, { abs: 2e-7, rel: 2e-6 }, "dlogits");
    }
  });

  test("reads and writes nothing beyond the rows for a target out of range", async () => {
    const b = await backend.get();
    const c = cases.find((x) => x.name === "a target outside the classes")!;
    const [, tokenLoss, dlogits] = await run(b, c);
    for (let m = 0; m < 5; m++) {
      const bad = m === 2 || m === 3;
      expect(Number.isNaN(tokenLoss[m])).toBe(bad);
      for (let v = 0; v < c.classes; v++) expect(Number.isNaN(dlogits[m * c.classes + v])).toBe(bad || false);
    }
  });
});

test("works on a copy of logits that another holder still reads", async () => {
  const backend = createReferenceBackend();
  const c = cases[0];
  const logits = place(backend, [...c.lead, c.classes], "f32", c.logits);
  const inputs = [logits, place(backend, c.lead, "i32", c.targets)];
  const outputGradients = [place(backend, [1], "f32", [seed]), null];
  const { gradients } = runOp(backend, crossEntropy, inputs, {}, { outputGradients, exclusive: false });
  expect([...(await fetchArray(backend, logits))]).toEqual([...c.logits]);
  const [, , expected] = await run(backend, c);
  expect(await fetchArray(backend, gradients[0]!)).toEqual(expected);
});

test("reference: agrees with PyTorch's cross_entropy", async () => {
  const f = readFixtures("cross-entropy").cross_entropy;
  const flat = (rows: number[][]) => Float32Array.from(rows.flat());
  const backend = createReferenceBackend();
  const { outputs, gradients } = runOp(
    backend,
    crossEntropy,
    [place(backend, [6, 11], "f32", flat(f.logits)), place(backend, [6], "i32", f.targets)],
    {},
    { outputGradients: [place(backend, [1], "f32", [1]), null] },
  );
  const errors = f.torch_fp32_max_abs_err;
  expectClose(await fetchArray(backend, outputs[0]), f.expect.loss, { abs: 4 * errors.loss }, "loss");
  expectClose(await fetchArray(backend, outputs[1]), f.expect.per_row, { abs: 4 * errors.per_row }, "per row");
  const dlogits = await fetchArray(backend, gradients[0]!);
  expectClose(dlogits, flat(f.expect.dlogits), { abs: 4 * errors.dlogits }, "dlogits");
});

test("the gradient agrees with a finite difference", async () => {
  const c = cases.find((x) => x.name === "a third of the targets ignored")!;
  await checkGradients(crossEntropy, {}, [
    { shape: [5, 7], data: c.logits.slice(0, 35) },
    { shape: [5], data: [3, -100, 0, 6, 2], dtype: "i32" },
  ]);
});

test("refuses targets of another shape, naming both", () => {
  const backend = createReferenceBackend();
  const logits = place(backend, [2, 3, 4], "f32", new Float32Array(24));
  const targets = place(backend, [6], "i32", new Int32Array(6));
  expect(() => runOp(backend, crossEntropy, [logits, targets], {})).toThrow(
    "cross-entropy: logits are [2,3,4], targets are i32 [6]; expected logits [..., V] and targets i32 [2,3]",
  );
});
