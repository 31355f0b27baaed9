// Oracles: the values of gguf, the Python package, (fixtures.json, made by fixtures.py); reference.ts, to the bit; and the codec of
// GGUF's Q4_0 (quant/q4-0.ts), decoded.
import { test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { testBlockQuantizer } from "../../../test/support/block-quantizer.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import fixtures from "./fixtures.json" with { type: "json" };
import { int4Blocks } from "./index.ts";
import { quantizeInt4Blocks } from "./reference.ts";

forEachBackend((backend) => {
  test("gives the values of gguf's own quantizer, and those again of themselves", async () => {
    const device = await backend.get();
    const shape = [fixtures.w.length, fixtures.w[0].length];
    let values: ArrayLike<number> = fixtures.w.flat();
    for (let again = 0; again < 2; again++) {
      const { outputs } = runOp(device, int4Blocks, [place(device, shape, "f32", values)], {});
      values = await fetchArray(device, outputs[0]);
      expectClose(values, fixtures.y.flat(), {}, "values");
    }
  });
});

testBlockQuantizer(int4Blocks, "Q4_0", quantizeInt4Blocks);
