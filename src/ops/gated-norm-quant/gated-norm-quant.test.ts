// Oracle: the three ops that it joins (gated-activation, rms-norm, activation-quant), each held to PyTorch in
// test/parity: on one backend the codes, scales, sums and gradients are theirs to the last bit. (The reference keeps
// float64 between the parts nowhere either: each writes float32.)
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { byRounding, expectCodes, needsWidth } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import type { NDArray } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { activationEps, activationQuant } from "../activation-quant/index.ts";
import { gatedActivation } from "../gated-activation/index.ts";
import { rmsNorm } from "../rms-norm/index.ts";
import { gatedNormQuant } from "./index.ts";

const eps = 1e-5;
const shapes: [name: string, rows: number, width: number, scale: number][] = [
  ["one value", 1, 1, 1],
  ["a width with a remainder", 5, 67, 1],
  ["tiny's width", 33, 1152, 1],
  ["more tokens than a block", 2050, 17, 2],
  ["rows of zeros", 3, 20, 0],
  ["a width past 2b4t's", 2, 6930, 1],
];
const cases = shapes.map(([name, rows, width, scale], i) => ({
  name,
  rows,
  width,
  gate: normals(rows * width, 40 + i, scale),
  up: normals(rows * width, 50 + i, scale),
  gain: normals(width, 60 + i),
  dy: normals(rows * width, 70 + i),
}));

forEachBackend((backend) => {
  for (const kind of ["silu", "relu2"] as const)
    test.for(cases)(`is ${kind}, the norm and then the codes, to the last bit, for $name`, async (c, { skip }) => {
      const b = await backend.get();
      needsWidth(b, skip, c.width);
      const all = (arrays: readonly (NDArray | undefined)[]) => Promise.all(arrays.map((a) => fetchArray(b, a!)));
      const shape = [c.rows, c.width];
      const [gate, up, dy] = [c.gate, c.up, c.dy].map((values) => place(b, shape, "f32", values));
      const gain = place(b, [c.width], "f32", c.gain);
      for (const start of [null, [c.gate, c.up, c.gain]]) {
        const hidden = runOp(b, gatedActivation, [gate, up], { kind }).outputs[0];
        const normed = runOp(
          b,
          rmsNorm,
          [hidden, gain],
          { eps },
          { outputGradients: [dy], accumulateInto: start ? [null, start[2]] : undefined },
        );
        const codes = runOp(b, activationQuant, [normed.outputs[0]], { eps: activationEps });
        const gated = runOp(
          b,
          gatedActivation,
          [gate, up],
          { kind },
          { outputGradients: [normed.gradients[0]!], accumulateInto: start ? start.slice(0, 2) : undefined },
        );
        const joined = runOp(
          b,
          gatedNormQuant,
          [gate, up, gain],
          { kind, eps },
          { outputGradients: [dy], accumulateInto: start ?? undefined },
        );
        const [[gotCodes, ...got], [wantedCodes, ...wanted]] = [await all(joined.outputs), await all(codes.outputs)];
        expectCodes(b, gotCodes, wantedCodes);
        for (const [i, what] of ["scales", "sums"].entries())
          expectClose(got[i], wanted[i], byRounding(b, {}, { abs: Math.max(1, c.width / 1000) * i, rel: 1e-6 }), what);
        const gradients = [await all(joined.gradients), await all([...gated.gradients, normed.gradients[1]])];
        for (const [i, gradient] of gradients[0].entries())
          expectClose(gradient, gradients[1][i], byRounding(b, {}, { abs: 1e-5, rel: 1e-5 }), `gradient ${i}`);
      }
    });

  test("leaves out the gradients that nobody asks for", async () => {
    const b = await backend.get();
    const c = cases[1];
    const shape = [c.rows, c.width];
    const inputs = [place(b, shape, "f32", c.gate), place(b, shape, "f32", c.up), place(b, [c.width], "f32", c.gain)];
    const outputGradients = [place(b, shape, "f32", c.dy)];
    const whole = runOp(b, gatedNormQuant, inputs, { kind: "silu", eps }, { outputGradients });
    for (const i of [0, 1, 2]) {
      const wanted = [0, 1, 2].map((j) => j === i);
      const { gradients } = runOp(b, gatedNormQuant, inputs, { kind: "silu", eps }, { outputGradients, wanted });
      expect(gradients.map((g) => g !== undefined)).toEqual(wanted);
      expect(await fetchArray(b, gradients[i]!)).toEqual(await fetchArray(b, whole.gradients[i]!));
    }
  });
});

test("refuses shapes that differ, and gate and up on one memory", () => {
  const backend = createReferenceBackend();
  const put = (shape: number[]) => place(backend, shape, "f32", new Float32Array(shape.reduce((a, b) => a * b)));
  const [gate, up, gain] = [put([2, 4]), put([2, 4]), put([4])];
  const run = (inputs: NDArray[]) => runOp(backend, gatedNormQuant, inputs, { kind: "silu", eps });
  expect(() => run([gate, put([2, 3]), gain])).toThrow("gated-norm-quant: gate is [2,4], up is [2,3], gain is [4]");
  expect(() => run([gate, up, put([3])])).toThrow("expected gate and up of one shape, and gain [4]");
  expect(() => run([gate, gate, gain])).toThrow("expected two tensors");
});
