// Oracle: reference.ts, which is the sum itself. Bound: none; one float32 addition is exact to the bit everywhere.
import { expect, test } from "vitest";
import { createReferenceBackend } from "../../backends/reference.ts";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { accumulate, add, copy } from "./index.ts";

const noScratch = () => {
  throw new Error("add makes no scratch");
};

forEachBackend((backend) => {
  test.for(cases)("adds, accumulates and copies as the reference for $name", async ({ shape, a, b }) => {
    const device = await backend.get();
    const cx: OpContext = { backend: device, precision: "fp32", create: noScratch };
    const sum = a.map((x, i) => x + b[i]);
    const A = place(device, shape, "f32", a);
    const B = place(device, shape, "f32", b);
    const { outputs } = runOp(device, add, [A, B], {});
    expectClose(await fetchArray(device, outputs[0]), sum, {}, "a + b");
    const into = place(device, [a.length], "f32", new Float32Array(a.length).fill(Number.NaN));
    copy(cx, into, A);
    expectClose(await fetchArray(device, into), a, {}, "copy");
    accumulate(cx, into, B);
    expectClose(await fetchArray(device, into), sum, {}, "accumulate");
    expectClose(await fetchArray(device, B), b, {}, "from, unchanged");
    accumulate(cx, B, B);
    expectClose(
      await fetchArray(device, B),
      b.map((x) => x + x),
      {},
      "accumulate into itself",
    );
  });
});

test("the gradient of both inputs is the output's gradient, without a copy", () => {
  const backend = createReferenceBackend();
  const { shape, a, b, dy } = cases[1];
  const DY = place(backend, shape, "f32", dy);
  const inputs = [place(backend, shape, "f32", a), place(backend, shape, "f32", b)];
  const { gradients } = runOp(backend, add, inputs, {}, { outputGradients: [DY] });
  expect(gradients[0]).toBe(DY);
  expect(gradients[1]).toBe(DY);
});

test("the gradient agrees with a finite difference", async () => {
  const { shape, a, b } = cases[1];
  await checkGradients(add, {}, [
    { shape, data: a },
    { shape, data: b },
  ]);
});

test("refuses two shapes, naming both", () => {
  const backend = createReferenceBackend();
  const cx: OpContext = { backend, precision: "fp32", create: noScratch };
  const a = place(backend, [2, 3], "f32", new Float32Array(6));
  const b = place(backend, [3, 2], "f32", new Float32Array(6));
  const c = place(backend, [5], "f32", new Float32Array(5));
  expect(() => runOp(backend, add, [a, b], {})).toThrow("add: a is [2,3], b is [3,2]; expected one shape");
  expect(() => accumulate(cx, a, c)).toThrow("accumulate: into is [2,3], from is [5]; expected as many elements");
  expect(() => copy(cx, c, a)).toThrow("copy: into is [5], from is [2,3]; expected as many elements");
});
