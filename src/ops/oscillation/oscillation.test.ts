// Oracle: NumPy over a sequence of codes, through fixtures.json (float64); reference.ts on every backend for ragged sizes.
// Bound: f and e are two products and a sum of numbers up to 1: 2 ulp of 1, which add up over the sequence.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { startOscillation, trackOscillation } from "./index.ts";
import { flagBits } from "./reference.ts";

const ulp = 2 ** -23;

async function track(backend: Backend, c: (typeof cases)[number]) {
  const put = (data: ArrayLike<number>, dtype: "f32" | "u8" | "i32" = "f32") =>
    place(backend, [data.length], dtype, data);
  const matrix = { weight: put(c.weight), codes: put(c.codes, "u8"), scale: put(c.scale) };
  const state = { flags: put(c.flags, "u8"), frequency: put(c.frequency), mean: put(c.mean) };
  const into = put(new Array(9).fill(-1), "i32");
  trackOscillation({ backend }, matrix, state, { momentum: c.momentum, threshold: c.threshold, into, slot: 1 });
  const read = (array: NDArray) => fetchArray(backend, array);
  const [weight, flags, frequency, mean, counts] = await Promise.all(
    [matrix.weight, state.flags, state.frequency, state.mean, into].map(read),
  );
  return { weight, flags, frequency, mean, counts };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    const expected = await track(createReferenceBackend(), c);
    const actual = await track(await backend.get(), c);
    expectClose(actual.frequency, expected.frequency, { abs: 2 * ulp }, "frequency");
    expectClose(actual.mean, expected.mean, { abs: 2 * ulp }, "mean");
    expect([...actual.flags]).toEqual([...expected.flags]);
    expect([...actual.counts]).toEqual([...expected.counts]);
    expect([...actual.counts.subarray(0, 3), ...actual.counts.subarray(6)]).toEqual(new Array(6).fill(-1));
    expectClose(actual.weight, expected.weight, { rel: ulp }, "weight");
  });

  test("follows NumPy through a sequence of codes: frequencies, averages, and which weights are fixed where", async () => {
    const device = await backend.get();
    const c = readFixtures("oscillation")["codes of 21 weights"];
    const [first, ...rest] = c.codes as number[][];
    const n = first.length;
    const put = (data: ArrayLike<number>, dtype: "f32" | "u8" | "i32" = "f32") => place(device, [n], dtype, data);
    const state = {
      flags: put(new Array(n).fill(0), "u8"),
      frequency: put(new Array(n).fill(0)),
      mean: put(new Array(n).fill(9)),
    };
    startOscillation({ backend: device }, put(first, "u8"), state);
    const into = place(device, [3], "i32", [0, 0, 0]);
    const weight = put(new Array(n).fill(7));
    for (const [i, codes] of rest.entries()) {
      const matrix = { weight, codes: put(codes, "u8"), scale: place(device, [1], "f32", [c.scales[i]]) };
      const settings = { momentum: c.momentum, threshold: c.thresholds[i], into, slot: 0 };
      trackOscillation({ backend: device }, matrix, state, settings);
      const bound = { abs: 2 * (i + 1) * ulp };
      expectClose(await fetchArray(device, state.frequency), c.expect.frequency[i], bound, `frequency ${i}`);
      expectClose(await fetchArray(device, state.mean), c.expect.mean[i], bound, `mean ${i}`);
      const fixed = Array.from(await fetchArray(device, state.flags), (flags) => (flags >> flagBits.fixed) & 1);
      expect(fixed, `fixed ${i}`).toEqual(c.expect.fixed[i]);
      const values = c.expect.value[i].map((value: number, k: number) => (fixed[k] ? value : 7));
      expectClose(await fetchArray(device, weight), values, { rel: ulp }, `weight ${i}`);
      expect([...(await fetchArray(device, into))], `counts ${i}`).toEqual(c.expect.counts[i]);
    }
  });
});

test("refuses state of another size, a slot that is not there, and a momentum of 0", () => {
  const backend = createReferenceBackend();
  const of = (n: number, dtype: "f32" | "u8" | "i32" = "f32") => place(backend, [n], dtype, new Array(n).fill(0));
  const matrix = { weight: of(4), codes: of(4, "u8"), scale: of(1) };
  const state = { flags: of(4, "u8"), frequency: of(4), mean: of(4) };
  const settings = { momentum: 0.1, threshold: 0.1, into: of(3, "i32"), slot: 0 };
  const attempt = (changes: object, stateChanges: object = {}) =>
    trackOscillation({ backend }, matrix, { ...state, ...stateChanges }, { ...settings, ...changes });
  expect(() => attempt({}, { mean: of(5) })).toThrow("oscillation: codes are [4], mean is [5]");
  expect(() => attempt({ slot: 1 })).toThrow("oscillation: slot is 1, into is [3]; expected a slot in 0..0");
  expect(() => attempt({ momentum: 0 })).toThrow("oscillation: momentum is 0; expected 0 < momentum <= 1");
  expect(() => attempt({ threshold: Number.NaN })).toThrow("oscillation: threshold is NaN; expected a number from 0");
});
