// Oracles: PyTorch's autograd (fixtures.json, in float64, made by fixtures.py); reference.ts on every backend, to the bit but for
// the clip's sum, which is float64 in another order. Bound to PyTorch: a few float32 operations of numbers up to 5.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { clipQuant } from "./index.ts";

type Rows = number[][];
const torch = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8")) as {
  x: Rows;
  dy: Rows;
  cases: { levels: number; clip: number; lambda: number; y: Rows; dx: Rows; dclip: number }[];
};

async function run(
  device: Backend,
  { levels, clip, lambda }: { levels: number; clip: number; lambda: number },
  { shape, x, dy }: { shape: readonly number[]; x: ArrayLike<number>; dy: ArrayLike<number> },
  accumulateInto: (ArrayLike<number> | null)[] = [null, null],
) {
  const inputs = [place(device, shape, "f32", x), place(device, [1], "f32", [clip])];
  const options = { outputGradients: [place(device, shape, "f32", dy)], accumulateInto };
  const { outputs, gradients } = runOp(device, clipQuant(levels), inputs, { lambda }, options);
  const [y, dx, dclip] = await Promise.all([outputs[0], ...gradients].map((array) => fetchArray(device, array!)));
  return { y, dx, dclip };
}

forEachBackend((backend) => {
  test.for(torch.cases)("$levels levels, lambda $lambda: outputs and gradients are PyTorch's", async (wanted) => {
    const values = { shape: [4, 9], x: torch.x.flat(), dy: torch.dy.flat() };
    const { y, dx, dclip } = await run(await backend.get(), wanted, values);
    expectClose(y, wanted.y.flat(), { abs: 1e-6 }, "y");
    expectClose(dx, wanted.dx.flat(), { abs: 1e-6 }, "dx");
    expectClose(dclip, [wanted.dclip], { abs: 1e-5 }, "dclip");
  });

  test.for(cases)("equals the reference for $name", async ({ rows, width, x, ...params }) => {
    const device = await backend.get();
    const values = { shape: [rows, width], x, dy: normals(x.length, 80) };
    const wanted = await run(createReferenceBackend(), params, values);
    const actual = await run(device, params, values);
    expectClose(actual.y, wanted.y, {}, "y");
    expectClose(actual.dx, wanted.dx, {}, "dx");
    expectClose(actual.dclip, wanted.dclip, { abs: 1e-5, rel: 1e-6 }, "dclip");
    const before = [normals(x.length, 81), [0.5]];
    const added = await run(device, params, values, before);
    const sum = wanted.dx.map((value, i) => value + before[0][i]);
    expectClose(added.dx, sum, {}, "dx, added");
    expectClose(added.dclip, [wanted.dclip[0] + 0.5], { abs: 1e-5, rel: 1e-6 }, "dclip, added");
  });
});

test("a clip that is held at the least gets no gradient; a NaN stays one", async () => {
  const device = createReferenceBackend();
  const values = { shape: [1, 3], x: [1, -1, Number.NaN], dy: [1, 1, 1] };
  const { y, dclip } = await run(device, { levels: 7, clip: 0, lambda: 1 }, values);
  expect([...dclip]).toEqual([0]);
  expect(y[0]).toBeCloseTo(1e-5, 9);
  expect(y[2]).toBeNaN();
});

test("refuses a lambda outside 0 to 1, and a missing clip", () => {
  const device = createReferenceBackend();
  const [x, clip] = [place(device, [1, 2], "f32", [1, 2]), place(device, [1], "f32", [1])];
  expect(() => runOp(device, clipQuant(7), [x, clip], { lambda: 2 })).toThrow(/lambda is 2/);
  expect(() => runOp(device, clipQuant(7), [x], { lambda: 1 })).toThrow(/its clip undefined/);
});
