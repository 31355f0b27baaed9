// Oracle: reference.ts on every backend; reference.ts itself is held to PyTorch in test/parity and to a finite
// difference here. Bound: none. The forward copies, and the backward adds in the order of the ids everywhere.
import { expect, test } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { cases } from "./cases.ts";
import { embedding } from "./index.ts";

async function run(backend: Backend, c: Omit<(typeof cases)[number], "name">, add = false) {
  const { outputs, gradients } = runOp(
    backend,
    embedding,
    [place(backend, c.shape, "i32", c.ids), place(backend, [c.vocabulary, c.width], "f32", c.table)],
    {},
    {
      outputGradients: [place(backend, [...c.shape, c.width], "f32", c.dy)],
      wanted: [false, true],
      accumulateInto: add ? [null, c.table] : undefined,
    },
  );
  expect(outputs[0].shape).toEqual([...c.shape, c.width]);
  return Promise.all([outputs[0], gradients[1]!].map((a) => fetchArray(backend, a)));
}

forEachBackend((backend) => {
  test.for(cases)("equals the reference for $name, overwriting and accumulating", async (c) => {
    for (const add of [false, true]) {
      const expected = await run(createReferenceBackend(), c, add);
      const actual = await run(await backend.get(), c, add);
      for (const [i, what] of ["y", "dtable"].entries()) expectClose(actual[i], expected[i], {}, what);
    }
  });

  test("gives NaN and no gradient for an id outside the table, and touches nothing else", async () => {
    const width = 20;
    const ids = Int32Array.of(2, -1, 3, 0, 2147483647, -2147483648);
    const dy = new Float32Array(ids.length * width).fill(1);
    const table = Float32Array.from({ length: 3 * width }, (_, i) => i);
    const [y, dtable] = await run(await backend.get(), {
      shape: [ids.length],
      vocabulary: 3,
      width,
      ids,
      table,
      dy,
    });
    const row = (a: ArrayLike<number>, n: number) => Array.from({ length: width }, (_, c) => a[n * width + c]);
    expect(row(y, 0)).toEqual(row(table, 2));
    expect(row(y, 3)).toEqual(row(table, 0));
    for (const n of [1, 2, 4, 5]) expect(row(y, n)).toEqual(new Array(width).fill(Number.NaN));
    expect(row(dtable, 0)).toEqual(new Array(width).fill(1));
    expect(row(dtable, 1)).toEqual(new Array(width).fill(0));
    expect(row(dtable, 2)).toEqual(new Array(width).fill(1));
  });
});

test("the gradient agrees with a finite difference", async () => {
  await checkGradients(embedding, {}, [
    { shape: [2, 3], data: [0, 3, 3, 1, 0, 3], dtype: "i32" },
    { shape: [5, 4], data: cases[1].table.slice(0, 20) },
  ]);
});

test("refuses a table that is not a matrix and ids that are not integers", () => {
  const backend = createReferenceBackend();
  const ids = place(backend, [2], "i32", [0, 1]);
  const table = place(backend, [8], "f32", new Float32Array(8));
  expect(() => runOp(backend, embedding, [ids, table], {})).toThrow("embedding: table is f32 [8]; expected f32 [V, C]");
  expect(() => runOp(backend, embedding, [table, table], {})).toThrow("embedding: ids are f32; expected i32");
});
