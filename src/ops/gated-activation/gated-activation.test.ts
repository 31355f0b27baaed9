// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json) and to a
// finite difference. Bound: exp within 2 ulp (native/simd-math.h), a division, and three products in float32: 6 ulp,
// 7.2e-7; the gradient's slope s · (1 + g · (1 - s)) may cancel where it crosses 0 (g = -1.28), hence an absolute part.
// Where e^g is under float32's normals (g < -87), s has a last unit of 1.4e-45, times a gate of 105: 2e-42 absolute.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { needs } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { gatedActivation } from "./index.ts";

type Case = (typeof cases)[number];

async function run(backend: Backend, c: Case, { add = false, wanted = [true, true] } = {}) {
  const { outputs, gradients } = runOp(
    backend,
    gatedActivation,
    [place(backend, c.shape, "f32", c.gate), place(backend, c.shape, "f32", c.up)],
    { kind: c.kind },
    {
      outputGradients: [place(backend, c.shape, "f32", c.dh)],
      wanted,
      accumulateInto: add ? [c.up, c.dh] : undefined,
    },
  );
  return Promise.all([outputs[0], ...gradients].map((a) => a && fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, overwriting and accumulating", async (c) => {
    for (const add of [false, true]) {
      const expected = await run(createReferenceBackend(), c, { add });
      const actual = await run(await backend.get(), c, { add });
      for (const [i, what] of ["h", "dgate", "dup"].entries())
        expectClose(actual[i]!, expected[i]!, { abs: i === 1 || add ? 1e-6 : 2e-42, rel: 7.2e-7 }, what);
    }
  });

  test("fills one gradient when only that is wanted", async () => {
    const both = await run(await backend.get(), cases[2]);
    const [, gate, none] = await run(await backend.get(), cases[2], { wanted: [true, false] });
    const [, nothing, up] = await run(await backend.get(), cases[2], { wanted: [false, true] });
    expect([none, nothing]).toEqual([undefined, undefined]);
    expectClose(gate!, both[1]!, {}, "dgate");
    expectClose(up!, both[2]!, {}, "dup");
  });

  test("gives NaN for NaN, and what the reference gives for infinite gates", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "ieee");
    for (const kind of ["silu", "relu2"] as const) {
      const c: Case = {
        ...cases[0],
        kind,
        shape: [4],
        gate: Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1),
        up: Float32Array.of(1, 2, 3, Number.NaN),
        dh: Float32Array.of(1, 1, 1, 1),
      };
      const expected = await run(createReferenceBackend(), c);
      const actual = await run(b, c);
      for (const i of [0, 1, 2]) expectClose(actual[i]!, expected[i]!, { rel: 7.2e-7 }, `${kind}[${i}]`);
    }
  });
});

test("reference: agrees with PyTorch's swiglu", async () => {
  const f = readFixtures("gated-activation").swiglu;
  const flat = (rows: number[][]) => Float32Array.from(rows.flat());
  const c: Case = { ...cases[0], kind: "silu", shape: [3, 7], gate: flat(f.gate), up: flat(f.up), dh: flat(f.dy) };
  const [y, dgate, dup] = await run(createReferenceBackend(), c);
  const errors = f.torch_fp32_max_abs_err;
  expectClose(y!, flat(f.expect.y), { abs: 4 * errors.y }, "y");
  expectClose(dgate!, flat(f.expect.dgate), { abs: 4 * errors.dgate }, "dgate");
  expectClose(dup!, flat(f.expect.dup), { abs: 4 * errors.dup }, "dup");
});

test.each(["silu", "relu2"] as const)("the gradient of %s agrees with a finite difference", async (kind) => {
  const c = cases[2];
  await checkGradients(gatedActivation, { kind }, [
    { shape: [3, 37], data: c.gate },
    { shape: [3, 37], data: c.up },
  ]);
});

test("adds both gradients where gate and up are one tensor", async () => {
  const backend = createReferenceBackend();
  const x = place(backend, [3], "f32", [-1, 0.5, 2]);
  const dh = place(backend, [3], "f32", [1, 1, 1]);
  // As a tape would: the second request for the same gradient adds to the first.
  const target = place(backend, [3], "f32", [Number.NaN, Number.NaN, Number.NaN]);
  let asked = 0;
  const create = () => target;
  const cx = {
    backend,
    precision: "fp32" as const,
    create,
    gradient: () => ({ array: target, accumulate: asked++ ? (1 as const) : (0 as const) }),
    pass: () => {},
    exclusive: () => true,
  };
  gatedActivation.backward!(cx, [x, x], [dh], { kind: "relu2" });
  // h = max(x, 0)³ for x > 0, so dh/dx = 3 x².
  expectClose(await fetchArray(backend, target), [0, 0.75, 12], { abs: 1e-6 }, "dx");
});

test("refuses two shapes, naming both", () => {
  const backend = createReferenceBackend();
  const gate = place(backend, [2, 4], "f32", new Float32Array(8));
  const up = place(backend, [4, 2], "f32", new Float32Array(8));
  expect(() => runOp(backend, gatedActivation, [gate, up], { kind: "silu" })).toThrow(
    "gated-activation: gate is [2,4], up is [4,2]",
  );
});
