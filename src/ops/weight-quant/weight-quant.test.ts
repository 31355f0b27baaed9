// Oracle: reference.ts on every backend, itself held to PyTorch's codes in test/parity.
// Bound: none for the codes; the scale may differ by the last bit, since the mean is summed in another order.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { bySums, expectCodes, needs } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { type WeightQuantParams, weightQuant } from "./index.ts";

async function run(backend: Backend, shape: [number, number], w: ArrayLike<number>, params: WeightQuantParams) {
  const { outputs } = runOp(backend, weightQuant, [place(backend, shape, "f32", w)], params);
  const [codes, scale] = await Promise.all(outputs.map((a) => fetchArray(backend, a)));
  return { codes: Array.from(codes), scale: scale[0] };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async ({ n, k, w, ...params }) => {
    const expected = await run(createReferenceBackend(), [n, k], w, params);
    const b = await backend.get();
    const actual = await run(b, [n, k], w, params);
    expectCodes(b, actual.codes, expected.codes);
    expectClose([actual.scale], [expected.scale], bySums(b, { rel: 2 ** -23 }, { rel: 2 ** -20 }), "scale");
  });

  test("uses -1, 0 and +1, about a third each for normal weights", async () => {
    const { w, n, k, ...params } = cases[4];
    const { codes } = await run(await backend.get(), [n, k], w, params);
    for (const code of [0, 1, 2]) {
      const share = codes.filter((c) => c === code).length / codes.length;
      expect(share).toBeGreaterThan(0.29);
      expect(share).toBeLessThan(0.37);
    }
  });

  test("rounds a half to even: 0.5 to 0 and 1.5 to 1 (clipped from 2)", async () => {
    const w = [2, 2, -2, -0.5, 0.5, 0.5, 0, 0.5]; // mean 1
    const { codes, scale } = await run(await backend.get(), [2, 4], w, { rule: "clamp", eps: 1e-5 });
    expect({ codes, scale }).toEqual({ codes: [2, 2, 0, 1, 1, 1, 1, 1], scale: 1 });
  });

  test("gives a NaN or infinite scale and zeros where the weights are not finite", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "ieee");
    for (const rule of ["add", "clamp"] as const) {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const { codes, scale } = await run(b, [2, 2], [1, bad, -1, 0.2], { rule, eps: 1e-5 });
        expect(codes).toEqual([1, 1, 1, 1]);
        expect(scale).toBe(Math.abs(bad));
      }
    }
  });

  test("sums magnitudes beyond float32's range", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "float64Sums");
    const { codes, scale } = await run(b, [1, 40], new Array(40).fill(3e38), {
      rule: "add",
      eps: 1e-5,
    });
    expect(scale).toBe(Math.fround(3e38));
    expect(codes).toEqual(new Array(40).fill(2));
  });
});

test("refuses what is not a matrix", () => {
  const backend = createReferenceBackend();
  const w = place(backend, [4], "f32", [1, 2, 3, 4]);
  expect(() => runOp(backend, weightQuant, [w], { rule: "add", eps: 1e-6 })).toThrow(
    "weight-quant: w is f32 [4]; expected f32 [N, K]",
  );
});
