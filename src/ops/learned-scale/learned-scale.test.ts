// Oracles: PyTorch's autograd in float64 (fixtures.json, made by fixtures.py), and reference.ts on every backend. Where the rule is
// a true gradient, that of LSQ's scale inside and outside its range of a function without rounding, autograd is that already.
// Bound: codes are exact; a gradient of w is exact, one of the scale is a sum of float32 products.
import { describe, expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { bySums, expectCodes } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { Backend } from "../../backends/backend.ts";
import fixtures from "./fixtures.json" with { type: "json" };
import { type LearnedScaleParams, learnedScaleGradient, learnedScaleQuant, leastScale } from "./index.ts";

const rules = {
  learned: { levels: 1, range: Number.POSITIVE_INFINITY, slope: 0 },
  lsq: { levels: 1, range: 1, slope: 1 },
  seq: { levels: 1.5, range: 0.99, slope: 1 },
} as const;

interface Case {
  shape: readonly [number, number];
  w: ArrayLike<number>;
  a: number;
  g: ArrayLike<number>;
}

async function run(
  backend: Backend,
  { shape, w, a, g }: Case,
  params: LearnedScaleParams,
  before?: readonly (ArrayLike<number> | null)[],
) {
  const inputs = [place(backend, shape, "f32", w), place(backend, [1], "f32", [a])];
  const { outputs } = runOp(backend, learnedScaleQuant, inputs, params);
  const [codes, scale] = await Promise.all(outputs.map((array) => fetchArray(backend, array)));
  const { gradients } = runOp(backend, learnedScaleGradient, [inputs[0], ...outputs, inputs[1]], params, {
    outputGradients: [place(backend, shape, "f32", g)],
    accumulateInto: before,
  });
  const [dw, da] = await Promise.all([gradients[0]!, gradients[3]!].map((array) => fetchArray(backend, array)));
  return { codes, scale: scale[0], dw, da: da[0] };
}

forEachBackend((backend) => {
  describe.each(Object.keys(rules) as (keyof typeof rules)[])("%s", (name) => {
    test("gives PyTorch's values and gradients", async () => {
      const device = await backend.get();
      const own = fixtures.filter(({ quantizer }) => quantizer === name);
      expect(own).toHaveLength(6);
      for (const { w, a, g, y, dw, da, gradientScale } of own) {
        const example = { shape: [w.length, w[0].length], w: w.flat(), a, g: g.flat() } as const;
        const found = await run(device, example, { ...rules[name], gradientScale, lambda: 1 });
        const values = Float32Array.from(found.codes, (code) => (code - 1) * found.scale);
        expectClose(values, Float32Array.from(y.flat()), { rel: 2 ** -22 }, "Q(w)");
        expectClose(found.dw, Float32Array.from(dw.flat()), { rel: 2 ** -22 }, "dw");
        expectClose([found.da], [da], { abs: 2e-6, rel: 2e-6 }, "da");
      }
    });

    test("agrees with the reference, at every lambda, and adds to gradients", async () => {
      const device = await backend.get();
      for (const [n, k] of [
        [1, 1],
        [5, 67],
        [33, 96],
      ] as const) {
        const example: Case = { shape: [n, k], w: normals(n * k, 7), a: 0.9, g: normals(n * k, 8) };
        for (const lambda of [1, 0.25, 0]) {
          const params = { ...rules[name], gradientScale: null, lambda };
          const before = rules[name].slope === 0 ? undefined : [normals(n * k, 9), null, null, [0.5]];
          const wanted = await run(createReferenceBackend(), example, params, before);
          const found = await run(device, example, params, before);
          expectCodes(device, found.codes, wanted.codes);
          expect(found.scale).toBe(wanted.scale);
          expectClose(found.dw, wanted.dw, {}, "dw");
          expectClose([found.da], [wanted.da], bySums(device, { rel: 2 ** -21, abs: 1e-7 }, { rel: 1e-4 }), "da");
        }
      }
    });
  });

  test("a scale that came to 0 or below is the least scale, and its gradient goes on", async () => {
    const device = await backend.get();
    const example: Case = { shape: [1, 3], w: [1, -1, 0], a: -0.5, g: [1, -1, 1] };
    const found = await run(device, example, { ...rules.lsq, gradientScale: 1, lambda: 1 });
    expect([...found.codes]).toEqual([2, 0, 1]);
    expect([found.scale, found.da]).toEqual([leastScale, 2]);
  });
});

test("refuses a scale that is not one number", () => {
  const device = createReferenceBackend();
  const inputs = [place(device, [1, 2], "f32", [1, 2]), place(device, [2], "f32", [1, 1])];
  expect(() => runOp(device, learnedScaleQuant, inputs, { levels: 1 })).toThrow(
    "learned-scale-quant: w is f32 [1,2], its scale f32 [2]; expected f32 [N, K] and one f32",
  );
});
