// Oracle: the position of every copied value, counted by hand.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cacheAppend } from "./index.ts";

forEachBackend((backend) => {
  test("puts each sequence's rows behind its own start and leaves the rest alone", async () => {
    const b = await backend.get();
    const cache = place(b, [2, 3, 2], "f32", new Float32Array(12).fill(9));
    const rows = place(b, [2, 2, 2], "f32", [1, 2, 3, 4, 5, 6, 7, 8]);
    cacheAppend({ backend: b, precision: "fp32", create: () => cache }, cache, rows, 1);
    expect([...(await fetchArray(b, cache))]).toEqual([9, 9, 1, 2, 3, 4, 9, 9, 5, 6, 7, 8]);
  });
});

test("refuses rows that do not fit, naming the shapes", () => {
  const b = createReferenceBackend();
  const cache = place(b, [1, 2, 1], "f32", [0, 0]);
  const rows = place(b, [1, 2, 1], "f32", [0, 0]);
  expect(() => cacheAppend({ backend: b, precision: "fp32", create: () => cache }, cache, rows, 1)).toThrow(
    "cache-append: rows [1,2,1] do not fit cache [1,2,1] from position 1",
  );
});
