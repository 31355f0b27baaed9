// Oracle: reference.ts, itself held to a filter here. Bound: none, these are counts.
import { expect, test } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { copyBytes, ternaryStats } from "./index.ts";

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: () => {
    throw new Error("ternary-stats makes no scratch");
  },
});

async function run(backend: Backend, codes: Uint8Array, previous: Uint8Array | null) {
  const into = place(backend, [3, 4], "i32", new Int32Array(12).fill(-1));
  ternaryStats(
    contextOf(backend),
    place(backend, [codes.length], "u8", codes),
    previous && place(backend, [codes.length], "u8", previous),
    into,
    1,
  );
  return Array.from(await fetchArray(backend, into));
}

forEachBackend((backend) => {
  test.for(cases)("equals the reference for $name, with and without previous codes", async ({ codes, previous }) => {
    for (const before of [previous, null]) {
      const counts = [0, 1, 2].map((code) => codes.filter((x) => x === code).length);
      const changed = before ? codes.filter((x, i) => x !== before[i]).length : 0;
      const expected = [-1, -1, -1, -1, ...counts, changed, -1, -1, -1, -1];
      expect(await run(createReferenceBackend(), codes, before)).toEqual(expected);
      expect(await run(await backend.get(), codes, before)).toEqual(expected);
    }
  });

  test("copies bytes of any size, and none beyond", async () => {
    const device = await backend.get();
    for (const n of [1, 15, 16, 17, 63, 64, 65, 1000]) {
      const from = Uint8Array.from({ length: n + 64 }, (_, i) => (i * 7) % 256);
      const into = place(device, [n + 64], "u8", new Uint8Array(n + 64).fill(9));
      copyBytes(contextOf(device), { ...into, shape: [n] }, { ...place(device, [n + 64], "u8", from), shape: [n] });
      expect(Array.from(await fetchArray(device, into))).toEqual([...from.slice(0, n), ...new Array(64).fill(9)]);
    }
  });
});

test("refuses previous codes of another size and a slot that is not there", () => {
  const backend = createReferenceBackend();
  const cx = contextOf(backend);
  const a = place(backend, [2, 3], "u8", new Uint8Array(6));
  const b = place(backend, [7], "u8", new Uint8Array(7));
  const into = place(backend, [8], "i32", new Int32Array(8));
  expect(() => ternaryStats(cx, a, b, into, 0)).toThrow("ternary-stats: codes are [2,3], previous is [7]");
  expect(() => ternaryStats(cx, a, null, into, 2)).toThrow(
    "ternary-stats: slot is 2, into is [8]; expected a slot in 0..1 (four numbers each)",
  );
  expect(() => copyBytes(cx, a, b)).toThrow("copyBytes: into is [2,3], from is [7]; expected as many elements");
});
