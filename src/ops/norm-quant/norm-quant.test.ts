// Oracle: the two ops that it joins (rms-norm, activation-quant), each held to PyTorch in test/parity: on one backend the
// codes, scales, sums and gradients are theirs to the last bit.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { byRounding, expectCodes, needsWidth } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { activationEps, activationQuant } from "../activation-quant/index.ts";
import { rmsNorm } from "../rms-norm/index.ts";
import { cases } from "../rms-norm/cases.ts";
import { normQuant } from "./index.ts";

forEachBackend((backend) => {
  test.for(cases)("is the norm and then the codes, to the last bit, for $name", async (c, { skip }) => {
    const b = await backend.get();
    needsWidth(b, skip, c.width);
    const all = (arrays: readonly (Parameters<typeof fetchArray>[1] | undefined)[]) =>
      Promise.all(arrays.filter((a) => a !== undefined).map((a) => fetchArray(b, a)));
    const inputs = [place(b, [c.rows, c.width], "f32", c.x), place(b, [c.width], "f32", c.gain)];
    const dy = place(b, [c.rows, c.width], "f32", c.dy);
    for (const accumulateInto of [undefined, [c.x, c.gain]]) {
      const options = { outputGradients: [dy], accumulateInto };
      const apart = runOp(b, rmsNorm, inputs, { eps: c.eps }, options);
      const codes = runOp(b, activationQuant, [apart.outputs[0]], { eps: activationEps });
      const joined = runOp(b, normQuant, inputs, { eps: c.eps }, options);
      const [[gotCodes, ...got], [wantedCodes, ...wanted]] = [await all(joined.outputs), await all(codes.outputs)];
      expectCodes(b, gotCodes, wantedCodes);
      for (const [i, what] of ["scales", "sums"].entries())
        expectClose(got[i], wanted[i], byRounding(b, {}, { abs: Math.max(1, c.width / 1000) * i, rel: 1e-6 }), what);
      const gradients = [await all(joined.gradients), await all(apart.gradients)];
      for (const [i, gradient] of gradients[0].entries())
        expectClose(gradient, gradients[1][i], byRounding(b, {}, { abs: 1e-5, rel: 1e-5 }), `gradient ${i}`);
    }
  });
});

test("refuses a gain of another width, naming both shapes", () => {
  const backend = createReferenceBackend();
  const x = place(backend, [2, 4], "f32", new Float32Array(8));
  expect(() => runOp(backend, normQuant, [x, place(backend, [3], "f32", [1, 1, 1])], { eps: 1e-5 })).toThrow(
    "norm-quant: x is [2,4], gain is [3]; expected gain [4]",
  );
});
