// Oracle: reference.ts on every backend; reference.ts itself is held here to values worked out by hand. Bound: the mean is
// of a float64 sum and rounded once, the bound is one float32 product: an ulp where another order of adding moves the sum.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { latentClip } from "./index.ts";

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async ({ weight, n, limit }) => {
    const [expected, actual] = await Promise.all(
      [createReferenceBackend(), await backend.get()].map((device) => {
        const w = place(device, [n], "f32", weight);
        latentClip({ backend: device }, w, limit);
        return fetchArray(device, w);
      }),
    );
    expectClose(actual, expected, { rel: 2 ** -23 }, "weight");
  });

  test("clips at the limit times the mean magnitude, and leaves what is within as it is", async () => {
    const device = await backend.get();
    // mean|w| = (1 + 2 + 3 + 10) / 4 = 4
    const w = place(device, [2, 2], "f32", [1, -2, 3, -10]);
    latentClip({ backend: device }, w, 1.5);
    expect(await fetchArray(device, w)).toEqual(Float32Array.of(1, -2, 3, -6));
    // Now the mean is 3.
    latentClip({ backend: device }, w, 0.5);
    expect(await fetchArray(device, w)).toEqual(Float32Array.of(1, -1.5, 1.5, -1.5));
  });
});

test("refuses a limit of 0", () => {
  const backend = createReferenceBackend();
  expect(() => latentClip({ backend }, place(backend, [1], "f32", [1]), 0)).toThrow(
    "latent-clip: limit is 0; expected a number above 0",
  );
});
