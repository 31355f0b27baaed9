// Oracles: the values of gguf, the Python package, (fixtures.json, made by fixtures.py); reference.ts, to the bit; and the codec of
// GGUF's Q4_0 (quant/q4-0.ts), decoded.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { codecOf, ggmlBytes } from "../../quant/ggml-types.ts";
import fixtures from "./fixtures.json" with { type: "json" };
import { int4Blocks } from "./index.ts";
import { quantizeInt4Blocks } from "./reference.ts";

const special = new Float32Array(64);
special.set([1.27, 0.005, -0.005, 0.015, -0.015, 1e-30, 127, 63.5, 0.49999997]);
special.set([1e-9, -1e-9, 5e-10], 32); // a block whose scale is 0 in float16
const cases = [
  { name: "one block", rows: 1, width: 32, w: normals(32, 3) },
  { name: "zeros, halves and tiny numbers", rows: 1, width: 64, w: special },
  { name: "more than a block for each thread", rows: 5, width: 96, w: normals(480, 4) },
  { name: "large numbers", rows: 2, width: 32, w: normals(64, 5).map((x) => x * 1e6) },
];

const viaCodec = (w: Float32Array): Float32Array => {
  const bytes = new Uint8Array(ggmlBytes("Q4_0", w.length));
  codecOf("Q4_0").encode!(w, bytes);
  const back = new Float32Array(w.length);
  codecOf("Q4_0").decode(bytes, back);
  return back;
};

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

  test.for(cases)("gives the values that a Q4_0 tensor holds: $name", async ({ rows, width, w }) => {
    const device = await backend.get();
    const { outputs } = runOp(device, int4Blocks, [place(device, [rows, width], "f32", w)], {});
    const y = await fetchArray(device, outputs[0]);
    const wanted = new Float32Array(w.length);
    quantizeInt4Blocks(w, wanted, { size: w.length });
    expectClose(y, wanted, {}, "reference");
    expectClose(y, viaCodec(w), {}, "codec");
  });

  test("a block with a number that is not finite becomes NaN, and its neighbor does not", async () => {
    const device = await backend.get();
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const w = normals(64, 6);
      w[40] = bad;
      const { outputs } = runOp(device, int4Blocks, [place(device, [1, 64], "f32", w)], {});
      const y = await fetchArray(device, outputs[0]);
      expect([...y.slice(0, 32)].every(Number.isFinite)).toBe(true);
      expect([...y.slice(32)].every(Number.isNaN)).toBe(true);
    }
  });
});

test("refuses rows that are not whole blocks", () => {
  const device = createReferenceBackend();
  const w = place(device, [2, 16], "f32", new Float32Array(32));
  expect(() => runOp(device, int4Blocks, [w], {})).toThrow(/int4-blocks: w is f32 \[2,16\].*multiple of 32/);
});
