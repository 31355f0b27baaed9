// Oracles: PyTorch's fake_quantize_per_tensor_affine (fixtures.json, made by fixtures.py); reference.ts on every backend, to
// the bit; the formula of the gradient, which is straight-through and has no difference to be checked by.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { staticQuant } from "./index.ts";
import * as reference from "./reference.ts";

const torch = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8")) as {
  cases: { scale: number; x: number[]; dy: number[]; y: number[]; dx: number[] }[];
};
const sizes = [1, 17, 1000];

forEachBackend((backend) => {
  test.for(torch.cases)("has PyTorch's values and gradient at scale $scale", async ({ scale, x, dy, y, dx }) => {
    const device = await backend.get();
    const n = x.length;
    const { outputs, gradients } = runOp(
      device,
      staticQuant,
      [place(device, [1, n], "f32", x)],
      { scale, lambda: 1 },
      { outputGradients: [place(device, [1, n], "f32", dy)] },
    );
    expectClose(await fetchArray(device, outputs[0]), y, { rel: 2 ** -22 }, "y");
    expectClose(await fetchArray(device, gradients[0]!), dx, {}, "dx");
  });

  describe.each([1, 0.4, 0])("at lambda %d", (lambda) => {
    test.for(sizes)("gives the reference's bits for %d values, and adds to a gradient that is there", async (size) => {
      const device = await backend.get();
      const [x, dy, before] = [normals(size, 3, 2), normals(size, 4), normals(size, 5)];
      const numbers = { size, scale: 0.013, lambda };
      const [y, dx] = [new Float32Array(size), before.slice()];
      reference.staticQuant(x, y, numbers);
      reference.staticQuantBackward(x, dy, dx, { ...numbers, accumulate: 1 });
      const { outputs, gradients } = runOp(
        device,
        staticQuant,
        [place(device, [size], "f32", x)],
        { scale: 0.013, lambda },
        { outputGradients: [place(device, [size], "f32", dy)], accumulateInto: [before] },
      );
      expectClose(await fetchArray(device, outputs[0]), y, {}, "y");
      expectClose(await fetchArray(device, gradients[0]!), dx, {}, "dx");
      if (lambda === 0) expectClose(y, x, {}, "nothing quantized");
    });
  });

  test("keeps NaN, and gives infinities the largest level", async () => {
    const device = await backend.get();
    const x = place(device, [3], "f32", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    const { outputs } = runOp(device, staticQuant, [x], { scale: 0.5, lambda: 1 });
    expect([...(await fetchArray(device, outputs[0]))]).toEqual([Number.NaN, 63.5, -63.5]);
  });
});

test("refuses a scale that is not above 0, and a lambda outside 0 to 1", () => {
  const device = createReferenceBackend();
  const x = place(device, [2], "f32", [1, 2]);
  for (const scale of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => runOp(device, staticQuant, [x], { scale, lambda: 1 })).toThrow(/scale is .*above 0/);
  expect(() => runOp(device, staticQuant, [x], { scale: 1, lambda: 2 })).toThrow(/lambda is 2; expected 0 to 1/);
});
