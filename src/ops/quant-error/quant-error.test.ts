// Oracles: NumPy in float64 through fixtures.json (fixtures.py); closed values of Gaussian weights; reference.ts on every
// backend for ragged sizes. Bounds: counts are exact; sums are float64 of float32 terms, stored as float32.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { quantizeWeights } from "../weight-quant/reference.ts";
import { cases } from "./cases.ts";
import { quantError, quantErrorMeasures, quantErrorPerSlot, quantErrorSums } from "./index.ts";
import { quantErrorFields } from "./reference.ts";

type Inputs = Pick<(typeof cases)[number], "w" | "codes" | "scale"> &
  Partial<Pick<(typeof cases)[number], "previous" | "before" | "kept">>;

async function run(backend: Backend, c: Inputs, fresh = false) {
  const put = (data: ArrayLike<number> | undefined, dtype: "f32" | "u8") =>
    data && place(backend, [data.length], dtype, data);
  const kept = put(c.kept, "f32");
  const into = place(backend, [3 * quantErrorPerSlot], "f32", new Array(3 * quantErrorPerSlot).fill(-1));
  quantError(
    { backend },
    {
      w: put(c.w, "f32")!,
      codes: put(c.codes, "u8")!,
      scale: put(c.scale, "f32")!,
      previous: put(c.previous, "u8"),
      before: put(c.before, "u8"),
      kept,
    },
    { into, slot: 1, fresh },
  );
  const read = (await fetchArray(backend, into)) as Float32Array;
  for (const slot of [0, 2])
    expect([...read.subarray(slot * quantErrorPerSlot, (slot + 1) * quantErrorPerSlot)]).toEqual(
      new Array(quantErrorPerSlot).fill(-1),
    );
  return { sums: quantErrorSums(read, 1), kept: kept && (await fetchArray(backend, kept)) };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, with and without what came before", async (c) => {
    const device = await backend.get();
    for (const inputs of [c, { w: c.w, codes: c.codes, scale: c.scale }] as Inputs[]) {
      const expected = await run(createReferenceBackend(), inputs);
      const actual = await run(device, inputs);
      for (const field of quantErrorFields) {
        const exact = !["sum", "squares", "cubes", "fourths", "errors", "products", "moved", "keptSquares"].includes(
          field,
        );
        // Terms of both signs cancel in sum, cubes and products: the bound is of their size.
        const size = { sum: "squares", cubes: "fourths", products: "squares" }[field as string] ?? field;
        const bound = exact ? { abs: 0 } : { abs: 3e-7 * expected.sums[size as "squares"] };
        expectClose([actual.sums[field]], [expected.sums[field]], bound, field);
      }
      expect(actual.kept).toEqual(inputs.kept ? c.w : undefined);
      expect(expected.kept).toEqual(inputs.kept ? c.w : undefined);
    }
    const fresh = await run(device, c, true);
    expect(fresh.sums.moved).toBe(0);
    expect(fresh.sums.keptSquares).toBeCloseTo(fresh.sums.squares, 0);
    expect(fresh.kept).toEqual(c.w);
  });

  test.for(Object.entries(readFixtures("quant-error")))("gives NumPy's measures of %s", async ([, fixture]) => {
    // biome-ignore lint/suspicious/noExplicitAny: JSON, whose shape is fixtures.py's
    const c = fixture as any;
    const { sums } = await run(await backend.get(), {
      w: Float32Array.from(c.w),
      codes: Uint8Array.from(c.codes),
      scale: Float32Array.of(c.scale),
      previous: Uint8Array.from(c.previous),
      before: Uint8Array.from(c.before),
      kept: Float32Array.from(c.kept),
    });
    const n = c.w.length;
    const found = {
      ...quantErrorMeasures(sums, n, Math.fround(c.scale)),
      flipRate: sums.flipped / n,
      oscillation: sums.oscillated / n,
      drift: Math.sqrt(sums.moved / sums.keptSquares),
    };
    expect(Object.keys(found).sort()).toEqual(Object.keys(c.expect).sort());
    for (const [name, value] of Object.entries(found))
      expectClose([value!], [c.expect[name]], { abs: 1e-6, rel: 2e-6 }, name);
  });
});

test("Gaussian weights under absmean have the closed values: 5.79 dB, cosine 0.887, 31 % zeros, kurtosis 0", async () => {
  const n = 2 ** 20;
  const w = normals(n, 5, 0.02);
  const codes = new Uint8Array(n);
  const scale = new Float32Array(1);
  quantizeWeights(w, codes, scale, "clamp", 1e-5);
  const { sums } = await run(createReferenceBackend(), { w, codes, scale });
  const found = quantErrorMeasures(sums, n, scale[0]);
  // s = sqrt(2/π) σ; P(|w| < s/2) = erf(s / (2 √2 σ)) = 0.3101; by integration the rest. 2^20 draws: 0.02 dB is three deviations.
  expect(Math.abs(found.sqnrDb! - 5.79)).toBeLessThan(0.02);
  expect(found.cosine).toBeCloseTo(0.887, 2);
  expect(found.zero).toBeCloseTo(0.31, 2);
  expect(found.deadZone).toBeCloseTo(found.zero, 4);
  expect(found.entropyBits).toBeCloseTo(1.583, 2);
  expect(Math.abs(found.kurtosis!)).toBeLessThan(0.02);
});

test("weights that are all 0 have no ratio, and no NaN", async () => {
  const { sums } = await run(createReferenceBackend(), {
    w: new Float32Array(8),
    codes: new Uint8Array(8).fill(1),
    scale: Float32Array.of(1e-5),
  });
  expect(quantErrorMeasures(sums, 8, 1e-5)).toMatchObject({
    mse: 0,
    sqnrDb: null,
    cosine: null,
    normalizedError: null,
    pearson: null,
    zero: 1,
    entropyBits: 0,
    kurtosis: null,
  });
});

test("refuses arrays of another size, a scale for each row, and a slot that is not there", () => {
  const backend = createReferenceBackend();
  const of = (n: number, dtype: "f32" | "u8" = "f32") => place(backend, [n], dtype, new Array(n).fill(0));
  const into = of(quantErrorPerSlot);
  const inputs = { w: of(4), codes: of(4, "u8"), scale: of(1) };
  const attempt = (changes: object, slot = 0) => quantError({ backend }, { ...inputs, ...changes }, { into, slot });
  expect(() => attempt({ previous: of(5, "u8") })).toThrow("quant-error: w is [4], previous is [5]");
  expect(() => attempt({ scale: of(4) })).toThrow("quant-error: scale is [4]; expected one for the matrix, [1]");
  expect(() => attempt({}, 1)).toThrow("quant-error: slot is 1");
});
