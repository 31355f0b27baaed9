// Oracle: reference.ts on every backend; reference.ts itself is held to PyTorch in test/parity and to a finite
// difference here. Bound: kernels sum in float64; what is left is a few float32 roundings of each term, and in dx and
// dgain the terms are at most about 100 times the result.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { bySums } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { rmsNorm } from "./index.ts";

async function run(
  backend: Awaited<ReturnType<typeof createReferenceBackend>>,
  c: (typeof cases)[number],
  add = false,
) {
  const { outputs, gradients } = runOp(
    backend,
    rmsNorm,
    [place(backend, [c.rows, c.width], "f32", c.x), place(backend, [c.width], "f32", c.gain)],
    { eps: c.eps },
    {
      outputGradients: [place(backend, [c.rows, c.width], "f32", c.dy)],
      accumulateInto: add ? [c.x, c.gain] : undefined,
    },
  );
  return Promise.all([outputs[0], gradients[0]!, gradients[1]!].map((a) => fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, overwriting and accumulating", async (c) => {
    for (const add of [false, true]) {
      const expected = await run(createReferenceBackend(), c, add);
      const actual = await run(await backend.get(), c, add);
      for (const [i, what] of ["y", "dx", "dgain"].entries())
        expectClose(actual[i], expected[i], { abs: 1e-5, rel: 1e-5 }, what);
    }
  });

  test("the gain's gradient keeps what a float32 sum over the rows would lose", async () => {
    // x is 1 and eps 0, so each row adds its dy: 4096 once, then 20,000 times 2^-13, each below half an ulp of 4096.
    const [rows, width] = [20_001, 3];
    const dy = new Float32Array(rows * width).fill(2 ** -13).fill(4096, 0, width);
    const c = { ...cases[0], rows, width, eps: 0, x: dy.map(() => 1), gain: new Float32Array(width).fill(1), dy };
    const b = await backend.get();
    const [, , dgain] = await run(b, c);
    // A float32 sum in one go loses all but the first: 2.44 of 4098.44.
    const bound = bySums(b, {}, { abs: 2.5 });
    expectClose(dgain, new Array(width).fill(Math.fround(4096 + 20_000 * 2 ** -13)), bound, "dgain");
  });
});

test("the gradient agrees with a finite difference", async () => {
  await checkGradients(rmsNorm, { eps: 1e-5 }, [
    { shape: [3, 7], data: cases[2].x.slice(0, 21) },
    { shape: [7], data: cases[2].gain.slice(0, 7) },
  ]);
});

test("refuses a gain of another width, naming both shapes", () => {
  const backend = createReferenceBackend();
  const x = place(backend, [2, 4], "f32", new Float32Array(8));
  expect(() => runOp(backend, rmsNorm, [x, place(backend, [3], "f32", [1, 1, 1])], { eps: 1e-5 })).toThrow(
    "rms-norm: x is [2,4], gain is [3]; expected gain [4]",
  );
});
