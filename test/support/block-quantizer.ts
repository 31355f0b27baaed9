/**
 * The test of an op that rounds weights in blocks of 32 to the numbers of a GGUF type: held to its reference, to the bit, and to
 * the type's codec, decoded. Used by the tests of ops/int8-blocks and ops/int4-blocks.
 */
import { expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/reference.ts";
import type { Op } from "../../src/ops/op.ts";
import { codecOf, ggmlBytes } from "../../src/quant/ggml-types.ts";
import { fetchArray, forEachBackend, place, runOp } from "./backends.ts";
import { expectClose } from "./expect-close.ts";
import { normals } from "./random.ts";

const special = new Float32Array(64);
special.set([1.27, 0.005, -0.005, 0.015, -0.015, 1e-30, 127, 63.5, 0.49999997]);
special.set([1e-9, -1e-9, 5e-10], 32); // a block whose scale is 0 in float16
const cases = [
  { name: "one block", rows: 1, width: 32, w: normals(32, 3) },
  { name: "zeros, halves and tiny numbers", rows: 1, width: 64, w: special },
  { name: "more than a block for each thread", rows: 5, width: 96, w: normals(480, 4) },
  { name: "large numbers", rows: 2, width: 32, w: normals(64, 5).map((x) => x * 1e6) },
];

export function testBlockQuantizer(
  op: Op<Record<string, never>>,
  type: "Q8_0" | "Q4_0",
  reference: (w: Float32Array, y: Float32Array, sizes: { size: number }) => void,
): void {
  const viaCodec = (w: Float32Array): Float32Array => {
    const bytes = new Uint8Array(ggmlBytes(type, w.length));
    codecOf(type).encode!(w, bytes);
    const back = new Float32Array(w.length);
    codecOf(type).decode(bytes, back);
    return back;
  };

  forEachBackend((backend) => {
    test.for(cases)(`gives the values that a ${type} tensor holds: $name`, async ({ rows, width, w }) => {
      const device = await backend.get();
      const { outputs } = runOp(device, op, [place(device, [rows, width], "f32", w)], {});
      const y = await fetchArray(device, outputs[0]);
      const wanted = new Float32Array(w.length);
      reference(w, wanted, { size: w.length });
      expectClose(y, wanted, {}, "reference");
      expectClose(y, viaCodec(w), {}, "codec");
    });

    test("a block with a number that is not finite becomes NaN, and its neighbor does not", async () => {
      const device = await backend.get();
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const w = normals(64, 6);
        w[40] = bad;
        const { outputs } = runOp(device, op, [place(device, [1, 64], "f32", w)], {});
        const y = await fetchArray(device, outputs[0]);
        expect([...y.slice(0, 32)].every(Number.isFinite)).toBe(true);
        expect([...y.slice(32)].every(Number.isNaN)).toBe(true);
      }
    });
  });

  test("refuses rows that are not whole blocks", () => {
    const device = createReferenceBackend();
    const w = place(device, [2, 16], "f32", new Float32Array(32));
    expect(() => runOp(device, op, [w], {})).toThrow(new RegExp(`${op.name}: w is f32 \\[2,16\\].*multiple of 32`));
  });
}
