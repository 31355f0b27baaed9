// Oracle: reference.ts on every backend, itself held to PyTorch's codes in test/parity.
// Bound: none where float32 is IEEE's, for all of it is a handful of operations; else that of bounds.ts.
import { expect, test } from "vitest";
import { expectClose } from "../../../test/support/expect-close.ts";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { byRounding, expectCodes, needs, needsWidth } from "../../../test/support/bounds.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { activationQuant, int4Levels, int8Levels } from "./index.ts";

async function run(backend: Backend, shape: [number, number], x: ArrayLike<number>, levels?: number) {
  const { outputs } = runOp(backend, activationQuant, [place(backend, shape, "f32", x)], { eps: 1e-5, levels });
  const [codes, scale, sums] = await Promise.all(outputs.map((a) => fetchArray(backend, a)));
  return { codes: Array.from(codes), scale: Array.from(scale), sums: Array.from(sums) };
}

forEachBackend((backend) => {
  test.for(cases)("gives the reference's bits for $name", async ({ rows, width, x }, { skip }) => {
    const b = await backend.get();
    needsWidth(b, skip, width);
    for (const levels of [int8Levels, int4Levels]) {
      const expected = await run(createReferenceBackend(), [rows, width], x, levels);
      const actual = await run(b, [rows, width], x, levels);
      expectCodes(b, actual.codes, expected.codes);
      expectClose(actual.scale, expected.scale, byRounding(b, {}, { rel: 2 ** -22 }), "scale");
      expectClose(actual.sums, expected.sums, byRounding(b, {}, { abs: Math.max(1, width / 1000) }), "sums");
    }
  });

  test("rounds halves to even, and the largest magnitude to ±127", async ({ skip }) => {
    const x = [127, 0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 125.5, 126.5, -126.5];
    const b = await backend.get();
    needsWidth(b, skip, 11);
    const { codes, scale, sums } = await run(b, [1, 11], x);
    expect(codes.map((c) => c + 0)).toEqual([127, 0, 2, 2, 4, 0, -2, -2, 126, 126, -126]);
    expect(scale).toEqual([1]);
    expect(sums).toEqual([codes.reduce((a, b) => a + b)]);
  });

  test("has codes up to ±7 in four bits, each of them", async ({ skip }) => {
    const b = await backend.get();
    needsWidth(b, skip, 16);
    const x = [7, -7, 6.4, 5.5, 4.5, 3.2, -2.5, 1.5, 0.6, 0.5, -0.4, 0, -0.7, -3.4, -5.5, 2];
    const { codes, scale, sums } = await run(b, [1, 16], x, int4Levels);
    expect(codes.map((c) => c + 0)).toEqual([7, -7, 6, 6, 4, 3, -2, 2, 1, 0, 0, 0, -1, -3, -6, 2]);
    expect([scale, sums]).toEqual([[1], [codes.reduce((a, b) => a + b)]]);
  });

  test("gives zeros and a NaN or infinite scale for a row that is not finite, and only for it", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "ieee", "anyByteWidth");
    const [nan, inf] = [Number.NaN, Number.POSITIVE_INFINITY];
    const { codes, scale, sums } = await run(b, [4, 3], [1, nan, -2, 1, -inf, 3, 2, 1, 0, 0, inf, nan]);
    expect(codes).toEqual([0, 0, 0, 0, 0, 0, 127, 64, 0, 0, 0, 0]);
    expect(scale).toEqual([nan, inf, Math.fround(2 / 127), nan]);
    expect(sums).toEqual([0, 0, 191, 0]);
  });

  test("gives zeros for a row of zeros and of denormals", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "ieee", "anyByteWidth");
    const { codes, scale } = await run(b, [2, 2], [0, -0, 1e-40, -1e-45]);
    expect(codes.map(Math.abs)).toEqual([0, 0, 0, 0]);
    expect(scale).toEqual([Math.fround(Math.fround(1e-5) / 127), Math.fround(Math.fround(1e-5) / 127)]);
  });
});

test("refuses a largest code that int8 does not hold", () => {
  const backend = createReferenceBackend();
  const x = place(backend, [1, 2], "f32", [1, 2]);
  for (const levels of [0, 128, 7.5])
    expect(() => runOp(backend, activationQuant, [x], { eps: 1e-5, levels })).toThrow(
      `activation-quant: levels is ${levels}; expected an integer from 1 to 127`,
    );
});
