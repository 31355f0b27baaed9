// Oracles: PyTorch's values in float64 (fixtures.json, made by fixtures.py), and reference.ts on every backend.
// Bound: none for the codes; the scale may differ by the last bit, since sums have another order.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { bySums, expectCodes, needs } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import fixtures from "./fixtures.json" with { type: "json" };
import { twnQuant } from "./index.ts";
import type { TwnParams } from "./reference.ts";

async function run(backend: Backend, shape: readonly number[], w: ArrayLike<number>, params: TwnParams) {
  const { outputs } = runOp(backend, twnQuant, [place(backend, shape, "f32", w)], params);
  const [codes, scale] = await Promise.all(outputs.map((a) => fetchArray(backend, a)));
  return { codes: Array.from(codes), scale: scale[0] };
}

const eps = 1e-6;
const shapes: [number, number][] = [
  [1, 1],
  [3, 5],
  [7, 33],
  [64, 96],
];

forEachBackend((backend) => {
  test.for(fixtures)("gives PyTorch's codes and scale: $name", async ({ w, threshold, codes, survivors, mean }) => {
    const device = await backend.get();
    const shape = [w.length, w[0].length];
    for (const [kept, wanted] of [
      [1, survivors],
      [0, mean],
    ]) {
      const found = await run(device, shape, w.flat(), { threshold, survivors: kept, eps });
      expect(found.codes).toEqual(codes.flat());
      expectClose([found.scale], [Math.max(wanted, eps)], { rel: 2 ** -22 }, "scale");
    }
  });

  test.for(shapes)("agrees with the reference for %i x %i", async (shape) => {
    const device = await backend.get();
    const w = normals(shape[0] * shape[1], 50, 0.02);
    for (const params of [
      { threshold: 0.7, survivors: 1, eps },
      { threshold: 3, survivors: 1, eps },
      { threshold: 0.5, survivors: 0, eps },
    ]) {
      const wanted = await run(createReferenceBackend(), shape, w, params);
      const found = await run(device, shape, w, params);
      expectCodes(device, found.codes, wanted.codes);
      expectClose([found.scale], [wanted.scale], bySums(device, { rel: 2 ** -23 }, { rel: 2 ** -20 }), "scale");
    }
  });

  test("gives a scale that is not finite, and zeros, where the weights are not", async ({ skip }) => {
    const device = await backend.get();
    needs(device, skip, "ieee");
    for (const survivors of [0, 1])
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
        expect(await run(device, [2, 2], [1, bad, -1, 0.2], { threshold: 0.7, survivors, eps })).toEqual({
          codes: [1, 1, 1, 1],
          scale: Math.abs(bad),
        });
  });
});

test("refuses a threshold that is not above 0, and what is not a matrix", () => {
  const backend = createReferenceBackend();
  const params = { threshold: 0.7, survivors: 1, eps };
  const matrix = place(backend, [2, 2], "f32", [1, 2, 3, 4]);
  for (const threshold of [0, -1, Number.NaN])
    expect(() => runOp(backend, twnQuant, [matrix], { ...params, threshold })).toThrow(/threshold is .*above 0/);
  expect(() => runOp(backend, twnQuant, [place(backend, [1], "f32", [1])], params)).toThrow(/expected f32 \[N, K\]/);
});
