// Oracles: PyTorch's float32 codes and scales (fixtures.json, made by fixtures.py), and reference.ts on every backend.
// Bound: none. The median is one of the magnitudes, so that nothing hangs on the order of a sum.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { needs } from "../../../test/support/bounds.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { WeightQuantParams } from "../weight-quant/index.ts";
import fixtures from "./fixtures.json" with { type: "json" };
import { medianQuant } from "./index.ts";

async function run(backend: Backend, [n, k]: [number, number], w: ArrayLike<number>, params: WeightQuantParams) {
  const { outputs } = runOp(backend, medianQuant, [place(backend, [n, k], "f32", w)], params);
  const [codes, scale] = await Promise.all(outputs.map((a) => fetchArray(backend, a)));
  return { codes: Array.from(codes), scale: scale[0] };
}

const rules = ["add", "clamp"] as const;
const shapes: [number, number][] = [
  [1, 1],
  [1, 2],
  [3, 5],
  [7, 33],
  [64, 96],
  [40, 401],
];

forEachBackend((backend) => {
  test.for(Object.entries(fixtures))("gives PyTorch's codes and scale: %s", async ([, fixture]) => {
    for (const rule of rules) {
      const { scale, codes } = fixture[rule];
      const size: [number, number] = [fixture.W.length, fixture.W[0].length];
      const found = await run(await backend.get(), size, fixture.W.flat(), { rule, eps: 1e-5 });
      expect(found).toEqual({ codes: codes.flat(), scale: Math.fround(scale) });
    }
  });

  test.for(shapes)("agrees with the reference to the bit for %i x %i", async (shape) => {
    // Of few values many are alike; of tiny ones the bits are those of denormals.
    for (const change of [(x: number) => x, (x: number) => Math.round(3 * x) / 3, (x: number) => x * 1e-41]) {
      const w = normals(shape[0] * shape[1], 50).map(change);
      for (const rule of rules) {
        const wanted = await run(createReferenceBackend(), shape, w, { rule, eps: 1e-6 });
        expect(await run(await backend.get(), shape, w, { rule, eps: 1e-6 })).toEqual(wanted);
      }
    }
  });

  test("gives a NaN scale and zeros where the weights are not finite", async ({ skip }) => {
    const device = await backend.get();
    needs(device, skip, "ieee");
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      for (const rule of rules)
        expect(await run(device, [2, 2], [1, bad, -1, 0.2], { rule, eps: 1e-5 })).toEqual({
          codes: [1, 1, 1, 1],
          scale: Number.NaN,
        });
  });
});

test("refuses what is not a matrix", () => {
  const backend = createReferenceBackend();
  const w = place(backend, [4], "f32", [1, 2, 3, 4]);
  expect(() => runOp(backend, medianQuant, [w], { rule: "add", eps: 1e-6 })).toThrow(
    "median-quant: w is f32 [4]; expected f32 [N, K]",
  );
});
