// Oracle: reference.ts on every backend; reference.ts itself is held to PyTorch in test/parity, and here to the first
// step worked out by hand. Bounds (float32 kernels, float64 reference): m is two products and a sum, 2 ulp of the larger
// term; v has no cancellation, 4 ulp; the weight adds one rounding of its own and 6 of an update that the cases keep below 20 lr.
import { expect, test } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { type AdamwSettings, adamwStep } from "./index.ts";

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: () => {
    throw new Error("adamw makes no scratch");
  },
});

async function run(backend: Backend, c: Pick<(typeof cases)[number], "weight" | "gradient" | "m" | "v" | "settings">) {
  const n = c.weight.length;
  const put = (data: Float32Array) => place(backend, [n], "f32", data);
  const arrays = { weight: put(c.weight), gradient: put(c.gradient), m: put(c.m), v: put(c.v) };
  adamwStep(contextOf(backend), arrays, c.settings);
  const [weight, m, v, gradient] = await Promise.all(
    [arrays.weight, arrays.m, arrays.v, arrays.gradient].map((a) => fetchArray(backend, a)),
  );
  expect(gradient).toEqual(c.gradient);
  return { weight, m, v };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    const expected = await run(createReferenceBackend(), c);
    const actual = await run(await backend.get(), c);
    const ulp = 2 ** -23;
    expectClose(actual.m, expected.m, { rel: 2 * ulp, abs: 2 * ulp * 0.1 }, "m");
    expectClose(actual.v, expected.v, { rel: 4 * ulp, abs: 1e-44 }, "v");
    expectClose(actual.weight, expected.weight, { rel: ulp, abs: 6 * ulp * 20 * 1.5e-3 }, "weight");
  });

  test("moves by the learning rate against the sign of the gradient on step 1, whatever its size", async () => {
    const settings: AdamwSettings = {
      learningRate: 0.125,
      beta1: 0.9,
      beta2: 0.999,
      eps: 0,
      weightDecay: 0,
      step: 1,
      gradientScale: 0.5,
    };
    const zeros = new Float32Array(4);
    const gradient = Float32Array.of(3, -1e-5, 700, -1);
    const { weight } = await run(await backend.get(), { weight: zeros, gradient, m: zeros, v: zeros, settings });
    expectClose(weight, [-0.125, 0.125, -0.125, 0.125], { rel: 1e-6 }, "weight");
  });

  test("cautious decay spares the weights that their update moves away from zero", async () => {
    const settings: AdamwSettings = {
      learningRate: 0.5,
      beta1: 0,
      beta2: 0,
      eps: 0,
      weightDecay: 0.5,
      step: 1,
      gradientScale: 1,
      cautious: true,
    };
    const zeros = new Float32Array(6);
    const { weight } = await run(await backend.get(), {
      weight: Float32Array.of(4, 4, -4, -4, 0, 1e-30),
      gradient: Float32Array.of(1, -1, 1, -1, 1, 1e-15),
      m: zeros,
      v: zeros,
      settings,
    });
    // Towards zero: 4 * 0.75 - 0.5; away from it: 4 + 0.5. Of tiny numbers the signs count as well.
    expect(weight).toEqual(Float32Array.of(2.5, 4.5, -4.5, -2.5, -0.5, -0.5));
  });

  test("decays a weight that has no gradient, apart from the moments", async () => {
    const settings: AdamwSettings = {
      learningRate: 0.5,
      beta1: 0.9,
      beta2: 0.95,
      eps: 1e-8,
      weightDecay: 0.25,
      step: 1,
      gradientScale: 1,
    };
    const zeros = new Float32Array(2);
    const result = await run(await backend.get(), {
      weight: Float32Array.of(8, -16),
      gradient: zeros,
      m: zeros,
      v: zeros,
      settings,
    });
    expect(result).toEqual({ weight: Float32Array.of(7, -14), m: zeros, v: zeros });
  });
});

test("refuses arrays of another size, a step of 0 and a beta of 1", () => {
  const backend = createReferenceBackend();
  const a = place(backend, [2, 2], "f32", new Float32Array(4));
  const b = place(backend, [3], "f32", new Float32Array(3));
  const { settings } = cases[0];
  const step = (arrays: Partial<Record<"gradient" | "m" | "v", typeof a>>, changes: Partial<AdamwSettings> = {}) =>
    adamwStep(contextOf(backend), { weight: a, gradient: a, m: a, v: a, ...arrays }, { ...settings, ...changes });
  expect(() => step({ m: b })).toThrow("adamw: weight is [2,2], m is [3]");
  expect(() => step({}, { step: 0 })).toThrow("adamw: step is 0; expected 1, 2, 3, ...");
  expect(() => step({}, { beta2: 1 })).toThrow("adamw: beta2 is 1; expected 0 <= beta2 < 1");
});
