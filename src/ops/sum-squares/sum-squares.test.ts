// Oracle: reference.ts. Bound: both sum in float64, where the order of the sum changes nothing that float32 shows except
// at a tie: 1 ulp of float32 (the smallest subnormal, for the case below 1e-38).
import { expect, test } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { bySums, needs } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { sumSquares } from "./index.ts";

async function run(backend: Backend, x: Float32Array, slot: number) {
  const cx: OpContext = {
    backend,
    precision: "fp32",
    create: () => {
      throw new Error("sum-squares makes no scratch");
    },
  };
  const into = place(backend, [3], "f32", [-1, -1, -1]);
  sumSquares(cx, place(backend, [x.length], "f32", x), into, slot);
  return fetchArray(backend, into);
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, and writes its own slot only", async ({ x }, { skip }) => {
    const b = await backend.get();
    const expected = await run(createReferenceBackend(), x, 1);
    // Squares that float32 does not hold, of numbers that it does.
    if (x.some((value) => value !== 0 && !(value ** 2 > 2 ** -126 && value ** 2 < 2 ** 128)))
      needs(b, skip, "float64Sums");
    const actual = await run(b, x, 1);
    const float64 = { rel: 2 ** -23, abs: 2 ** -149 };
    expectClose(actual, expected, bySums(b, float64, { rel: 1e-6 }), "slots");
    expect([actual[0], actual[2]]).toEqual([-1, -1]);
  });

  test("gives the same bits every time", async () => {
    const { x } = cases.find((c) => c.x.length === 40_007)!;
    const device = await backend.get();
    const [first] = await run(device, x, 0);
    for (let i = 0; i < 5; i++) expect((await run(device, x, 0))[0]).toBe(first);
  });
});

test("refuses a slot that is not there", async () => {
  await expect(run(createReferenceBackend(), Float32Array.of(1), 3)).rejects.toThrow(
    "sum-squares: slot is 3, into is [3]; expected a slot in 0..2",
  );
});
