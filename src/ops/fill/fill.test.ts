// Oracle: Math.fround of the value. Bound: none.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import type { OpContext } from "../op.ts";
import { sizes, values } from "./cases.ts";
import { fill } from "./index.ts";

forEachBackend((backend) => {
  test("sets every element, whatever the size, and none beyond", async () => {
    const device = await backend.get();
    const cx: OpContext = {
      backend: device,
      precision: "fp32",
      create: () => {
        throw new Error("fill makes no scratch");
      },
    };
    for (const [i, n] of sizes.entries()) {
      const value = values[i % values.length];
      const roomy = place(device, [n + 16], "f32", new Float32Array(n + 16).fill(7));
      fill(cx, { ...roomy, shape: [n] }, value);
      const actual = Array.from(await fetchArray(device, roomy));
      expect(actual).toEqual([...new Array(n).fill(Math.fround(value)), ...new Array(16).fill(7)]);
    }
  });
});
