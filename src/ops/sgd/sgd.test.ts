// Oracle: reference.ts on every backend; reference.ts itself is held here to two steps worked out by hand (which are
// torch.optim.SGD's where there is no decay). Bounds (float32 kernels, float64 reference): each result is at most three
// products and two sums of terms below 8, so 2 ulp of 8.
import { expect, test } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { type SgdArrays, type SgdSettings, sgdStep } from "./index.ts";

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: () => {
    throw new Error("sgd makes no scratch");
  },
});

async function run(backend: Backend, c: (typeof cases)[number]) {
  const put = (data: Float32Array) => place(backend, [c.n], "f32", data);
  const arrays: SgdArrays = {
    weight: put(c.weight),
    gradient: put(c.gradient),
    momentum: c.withMomentum ? put(c.momentum) : null,
  };
  sgdStep(contextOf(backend), arrays, c.settings);
  return {
    weight: await fetchArray(backend, arrays.weight),
    momentum: arrays.momentum && (await fetchArray(backend, arrays.momentum)),
  };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    const expected = await run(createReferenceBackend(), c);
    const actual = await run(await backend.get(), c);
    const bound = { abs: 8 * 2 ** -22 };
    expectClose(actual.weight, expected.weight, bound, "weight");
    if (expected.momentum) expectClose(actual.momentum!, expected.momentum, bound, "momentum");
  });

  test("takes two steps as worked out by hand, the decay apart from the momentum", async () => {
    const device = await backend.get();
    const weight = place(device, [1], "f32", [8]);
    const gradient = place(device, [1], "f32", [4]);
    const momentum = place(device, [1], "f32", [0]);
    const settings: SgdSettings = { learningRate: 0.5, momentum: 0.5, weightDecay: 0.5, gradientScale: 0.25 };
    // buffer 1, weight 8 * 0.75 - 0.5 = 5.5;  buffer 1.5, weight 5.5 * 0.75 - 0.75 = 3.375
    for (const [w, b] of [
      [5.5, 1],
      [3.375, 1.5],
    ]) {
      sgdStep(contextOf(device), { weight, gradient, momentum }, settings);
      expect(await fetchArray(device, weight)).toEqual(Float32Array.of(w));
      expect(await fetchArray(device, momentum)).toEqual(Float32Array.of(b));
    }
  });
});

test("refuses arrays of another size, and a momentum that is out of range or has no array", () => {
  const backend = createReferenceBackend();
  const a = place(backend, [2, 2], "f32", new Float32Array(4));
  const b = place(backend, [3], "f32", new Float32Array(3));
  const step = (arrays: Partial<SgdArrays>, changes: Partial<SgdSettings> = {}) =>
    sgdStep(
      contextOf(backend),
      { weight: a, gradient: a, momentum: a, ...arrays },
      { ...cases[0].settings, ...changes },
    );
  expect(() => step({ gradient: b })).toThrow("sgd: weight is [2,2], gradient is [3]");
  expect(() => step({ momentum: null })).toThrow("sgd: momentum is 0.9 but its array is null");
  expect(() => step({}, { momentum: 1 })).toThrow("sgd: momentum is 1; expected 0 <= momentum < 1");
});
