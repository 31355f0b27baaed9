// Oracle: the definition, to[m, first + i] = from[m, i], written out here; numbers beside the columns stay.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { copyColumns } from "./index.ts";

const create = () => {
  throw new Error("no scratch is wanted");
};

forEachBackend((backend) => {
  test.for([
    { rows: 1, width: 1, stride: 1, first: 0 },
    { rows: 5, width: 67, stride: 100, first: 33 },
    { rows: 33, width: 48, stride: 96, first: 16 },
  ])("fills its columns and no others: $rows x $width from $first of $stride", async (shape) => {
    const { rows, width, stride, first } = shape;
    const device = await backend.get();
    const [from, before] = [normals(rows * width, 1), normals(rows * stride, 2)];
    const to = place(device, [rows, stride], "f32", before);
    const cx = { backend: device, precision: "fp32" as const, create };
    copyColumns(cx, place(device, [rows, width], "f32", from), to, first);
    const wanted = before.map((x, i) => {
      const column = (i % stride) - first;
      return column >= 0 && column < width ? from[Math.floor(i / stride) * width + column] : x;
    });
    expectClose(await fetchArray(device, to), wanted, {}, "columns");
  });
});

test("refuses columns that are not inside", () => {
  const backend = createReferenceBackend();
  const cx = { backend, precision: "fp32" as const, create };
  const [from, to] = [
    place(backend, [2, 3], "f32", new Float32Array(6)),
    place(backend, [2, 4], "f32", new Float32Array(8)),
  ];
  expect(() => copyColumns(cx, from, to, 2)).toThrow(/copy-columns: \[2,3\] to columns from 2 of \[2,4\]/);
});
