// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json) and to a
// finite difference. Bound: two products and a sum in float32, 2 ulp of the largest operand.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { rotary, rotaryTable } from "./index.ts";

async function run(backend: Backend, c: (typeof cases)[number], add = false) {
  const { outputs, gradients } = runOp(
    backend,
    rotary,
    [place(backend, c.xShape, "f32", c.x), place(backend, c.tableShape, "f32", c.table)],
    c,
    {
      outputGradients: [place(backend, c.xShape, "f32", c.dy)],
      wanted: [true, false],
      accumulateInto: add ? [c.x, null] : undefined,
    },
  );
  return Promise.all([outputs[0], gradients[0]!].map((a) => fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, overwriting and accumulating", async (c) => {
    for (const add of [false, true]) {
      const expected = await run(createReferenceBackend(), c, add);
      const actual = await run(await backend.get(), c, add);
      for (const [i, what] of ["y", "dx"].entries()) expectClose(actual[i], expected[i], { abs: 2e-6 }, what);
    }
  });
});

for (const name of ["rope_half_split", "rope_half_split_pos3"])
  test(`reference: agrees with PyTorch's ${name}`, async () => {
    const f = readFixtures("rotary")[name];
    const [B, H, T, D] = [1, 2, 5, 8];
    // [B, H, T, D] to [B, T, H·D]
    const arranged = (values: number[][][][]) =>
      Float32Array.from(
        { length: B * T * H * D },
        (_, i) => values[0][Math.floor(i / D) % H][Math.floor(i / D / H)][i % D],
      );
    const table = rotaryTable(f.start + T, D, f.theta);
    const c = {
      name,
      xShape: [B, T, H * D],
      tableShape: [f.start + T, D],
      heads: H,
      start: f.start,
      x: arranged(f.x),
      dy: arranged(f.dy),
      table,
    };
    const [y, dx] = await run(createReferenceBackend(), c);
    const errors = f.torch_fp32_max_abs_err;
    expectClose(y, arranged(f.expect.y), { abs: 4 * errors.y }, "y");
    expectClose(dx, arranged(f.expect.dx), { abs: 4 * errors.dx }, "dx");
    for (const [at, which] of [
      [0, "cos"],
      [D / 2, "sin"],
    ] as const)
      for (let t = 0; t < T; t++) {
        const row = (f.start + t) * D + at;
        expectClose(table.slice(row, row + D / 2), f.expect[which][t].slice(0, D / 2), { abs: 6e-8 }, which);
      }
  });

test("the gradient agrees with a finite difference", async () => {
  const c = cases[2];
  await checkGradients(rotary, c, [
    { shape: c.xShape, data: c.x },
    { shape: c.tableShape, data: c.table, differentiable: false },
  ]);
});

test("refuses positions beyond the table, naming both lengths", () => {
  const backend = createReferenceBackend();
  const x = place(backend, [1, 3, 4], "f32", new Float32Array(12));
  const table = place(backend, [8, 4], "f32", new Float32Array(32));
  expect(() => runOp(backend, rotary, [x, table], { heads: 1, start: 6 })).toThrow(
    "3 tokens from position 6 end at 9, but the table has 8 positions",
  );
});

test("refuses an odd head width", () => {
  expect(() => rotaryTable(4, 5, 10000)).toThrow("head width 5 is odd");
});
