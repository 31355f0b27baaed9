// Oracles: reference.ts on every backend; for reference.ts and every backend, bitsandbytes.json: the codebooks and the
// 8-bit block-wise Adam of bitsandbytes 0.50.2, by the paper's first author, run by PyTorch 1.13 on the inputs below.
// Bounds (float32 kernels, float64 reference): a moment is two products and a sum, 2 ulp of the larger term, so a scale is
// too; the weight as in adamw.test.ts. A code may differ by one where the value is so near the middle of two entries
// (2e-6 relative: the kernel's position in the tree has an ulp of 128) that rounding decides.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { type Backend, createBackend } from "../../backends/index.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { AdamwSettings } from "../adamw/index.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { adamw8bitStep, blocksOf, emptyCodes } from "./index.ts";
import { nearestCode, signedCodebook, stateBlock, unsignedCodebook } from "./reference.ts";

type State = Pick<(typeof cases)[number], "weight" | "m" | "v" | "mScale" | "vScale">;
type Input = State & { gradient: Float32Array; settings: AdamwSettings };
const ulp = 2 ** -23;

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: () => {
    throw new Error("adamw-8bit makes no scratch");
  },
});

async function run(backend: Backend, c: Input): Promise<State> {
  const n = c.weight.length;
  const put = (name: keyof State | "gradient") =>
    place(backend, [c[name].length], c[name] instanceof Uint8Array ? "u8" : "f32", c[name]);
  const arrays = {
    ...{ weight: put("weight"), gradient: put("gradient") },
    ...{ m: put("m"), v: put("v"), mScale: put("mScale"), vScale: put("vScale") },
  };
  expect(c.mScale.length).toBe(blocksOf(n));
  adamw8bitStep(contextOf(backend), arrays, c.settings);
  expect(await fetchArray(backend, arrays.gradient)).toEqual(c.gradient);
  const found = await Promise.all(
    (["weight", "m", "v", "mScale", "vScale"] as const).map(async (name) => [
      name,
      await fetchArray(backend, arrays[name]),
    ]),
  );
  for (const { buffer } of Object.values(arrays)) backend.free(buffer);
  return Object.fromEntries(found);
}

/** No moments yet. */
const start = (weight: Float32Array): State => ({
  weight,
  m: emptyCodes.m(weight.length),
  v: emptyCodes.v(weight.length),
  mScale: new Float32Array(blocksOf(weight.length)),
  vScale: new Float32Array(blocksOf(weight.length)),
});

/** The codes of `values` (exact), each the nearest; either of two where rounding decides. */
function expectCodes(codes: Uint8Array, values: ArrayLike<number>, scales: Float32Array, signed: boolean): void {
  const book = signed ? signedCodebook : unsignedCodebook;
  for (const [i, code] of codes.entries()) {
    const scale = scales[i >> 8];
    const x = scale === 0 ? 0 : values[i] / scale;
    const at = (near: number) => {
      const found = nearestCode(book, near);
      return !signed && near > 0 ? Math.max(found, 1) : found;
    };
    const either = [at(x - 2e-6 * Math.abs(x)), at(x + 2e-6 * Math.abs(x))];
    if (!either.includes(code)) expect.fail(`code ${i} of ${x}: is ${code}, expected ${either.join(" or ")}`);
  }
}

const settings: AdamwSettings = {
  ...{ learningRate: 0.5, beta1: 0.5, beta2: 0.5, eps: 1, weightDecay: 0 },
  ...{ step: 1, gradientScale: 1 },
};
const allCodes = Uint8Array.from({ length: 256 }, (_, code) => code);

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    const expected = await run(createReferenceBackend(), c);
    const actual = await run(await backend.get(), c);
    expectClose(actual.mScale, expected.mScale, { rel: 2 * ulp }, "scales of m");
    expectClose(actual.vScale, expected.vScale, { rel: 4 * ulp }, "scales of v");
    // As in adamw.test.ts, with updates of up to 300 lr: these moments are not of one history.
    expectClose(actual.weight, expected.weight, { rel: ulp, abs: 8 * ulp * 300 * c.settings.learningRate }, "weight");
    const { beta1, beta2, gradientScale } = c.settings;
    const g = Array.from(c.gradient, (x) => x * gradientScale);
    const m = g.map((x, i) => beta1 * signedCodebook[c.m[i]] * c.mScale[i >> 8] + (1 - beta1) * x);
    const v = g.map((x, i) => beta2 * unsignedCodebook[c.v[i]] * c.vScale[i >> 8] + (1 - beta2) * x * x);
    for (const { m: mCodes, v: vCodes, mScale, vScale } of [actual, expected]) {
      expectCodes(mCodes, m, mScale, true);
      expectCodes(vCodes, v, vScale, false);
    }
  });

  test("decodes every code to its entry, exactly, and encodes every entry to its code", async () => {
    // Without gradient and with v = 0, w = 0 - 1 · (m / 2) / (0 + 1); the scale of 2 undoes the half.
    const zeros = new Float32Array(256);
    const state = { ...start(zeros), gradient: zeros, settings };
    const one = await run(await backend.get(), { ...state, m: allCodes, mScale: Float32Array.of(2) });
    expect([...one.weight]).toEqual(Array.from(signedCodebook, (x) => 0 - x));
    expect([one.m, one.mScale[0]]).toEqual([allCodes, 1]);
    const two = await run(await backend.get(), { ...state, v: allCodes, vScale: Float32Array.of(2) });
    expect([two.v, two.vScale[0]]).toEqual([allCodes, 1]);
  });

  test("encodes each value to the nearest entry, from the largest of a block to a hundred-millionth of it", async () => {
    // Without memory, m = g and v = g². Beside every middle of two entries, and between.
    const magnitudes = [0, 1e-8, 2.74e-7, 2.76e-7, ...Array.from({ length: 4000 }, (_, i) => 10 ** (-8 + i / 500))];
    for (const book of [signedCodebook, unsignedCodebook])
      for (let i = 0; i < 255; i++) {
        const middle = Math.abs((book[i] + book[i + 1]) / 2);
        for (const x of [middle * (1 - 1e-5), middle * (1 + 1e-5)])
          magnitudes.push(book === signedCodebook ? x : Math.sqrt(x));
      }
    const values = magnitudes.flatMap((x) => [x, -x]);
    const blocks = Math.ceil(values.length / 255);
    const gradient = new Float32Array(blocks * stateBlock);
    for (let b = 0; b < blocks; b++) gradient.set([b % 2 ? -1 : 1, ...values.slice(b * 255, b * 255 + 255)], b << 8);
    const state = start(new Float32Array(gradient.length));
    const c = { ...state, gradient, settings: { ...settings, beta1: 0, beta2: 0 } };
    const { m, v, mScale, vScale } = await run(await backend.get(), c);
    expect([...mScale, ...vScale].every((scale) => scale === 1)).toBe(true);
    expectCodes(m, gradient, mScale, true);
    expectCodes(
      v,
      Array.from(gradient, (g) => g * g),
      vScale,
      false,
    );
  });

  test("gives the same bits again, and with any number of threads", async () => {
    const c = cases.find(({ n }) => n > 4096)!;
    const first = await run(await backend.get(), c);
    expect(await run(await backend.get(), c)).toEqual(first);
    const single = await createBackend({ ...backend.choice, threads: 1 });
    expect(await run(single, c)).toEqual(first);
    single.close();
  });

  test("goes as bitsandbytes goes, over 12 steps of 600 weights", async () => {
    const expected = bitsandbytes();
    let state = start(random(600, 1).map((x) => x - 0.5));
    for (let step = 1; step <= 12; step++) {
      const gradient = random(600, 100 + step).map(
        (x, i) => Math.sign(x - 0.5) * (0.02 + Math.abs(x - 0.5)) * 10 ** -(i % 3),
      );
      const published = { learningRate: 1.5e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };
      state = await run(await backend.get(), {
        ...state,
        gradient,
        settings: { ...published, gradientScale: 0.5, step },
      });
    }
    // A code on the edge may have fallen to the other side, by half a percent of a moment.
    expectClose(state.mScale, expected.mScale, { rel: 1e-6 }, "scales of m");
    expectClose(state.vScale, expected.vScale, { rel: 1e-6 }, "scales of v");
    expectClose(state.weight, expected.weight, { abs: 1e-6 }, "weight");
    for (const name of ["m", "v"] as const) expectClose(state[name], expected[name], { abs: 1 }, name);
    const others = (name: "m" | "v") => state[name].filter((code, i) => code !== expected[name][i]).length;
    expect(others("m") + others("v")).toBeLessThanOrEqual(2);
  });

  test("a weight whose gradient stops, in a block of larger ones, does not jump", async () => {
    // Its second moment falls under the smallest entry long before its first one does.
    const learningRate = 1e-3;
    let state = start(new Float32Array(256));
    for (let step = 1; step <= 80; step++) {
      const gradient = normals(256, step).with(7, step <= 20 ? 1e-3 : 0);
      const before = state.weight[7];
      state = await run(await backend.get(), {
        ...state,
        gradient,
        settings: { learningRate, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, gradientScale: 1, step },
      });
      expect(Math.abs(state.weight[7] - before)).toBeLessThan(1.5 * learningRate);
      expect(state.v[7]).toBeGreaterThan(0);
    }
  });
});

/** As in the program that made bitsandbytes.json: numbers in [0, 1). */
function random(n: number, seed: number): Float32Array {
  let x = seed;
  return Float32Array.from({ length: n }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 2 ** 32;
  });
}

function bitsandbytes(): Record<keyof State | "signed" | "unsigned", number[]> {
  return JSON.parse(readFileSync(new URL("bitsandbytes.json", import.meta.url), "utf8"));
}

test("the codebooks are those of bitsandbytes, but for the rounding of its float32 steps", () => {
  const { signed, unsigned } = bitsandbytes();
  expect([signed.length, unsigned.length]).toEqual([256, 256]);
  expectClose(signedCodebook, signed, { rel: 2 * ulp }, "signed");
  expectClose(unsignedCodebook, unsigned, { rel: 2 * ulp }, "unsigned");
});

test("refuses arrays of another size, and what adamw refuses", () => {
  const backend = createReferenceBackend();
  const put = (n: number, dtype: "f32" | "u8") => place(backend, [n], dtype, new Uint8Array(n));
  const [weight, codes, scales] = [put(300, "f32"), put(300, "u8"), put(2, "f32")];
  const arrays = { weight, gradient: weight, m: codes, v: codes, mScale: scales, vScale: scales };
  const step = (changes: Partial<typeof arrays>, more: Partial<AdamwSettings> = {}) =>
    adamw8bitStep(contextOf(backend), { ...arrays, ...changes }, { ...settings, ...more });
  expect(() => step({ v: put(299, "u8") })).toThrow("adamw-8bit: weight is [300], v is [299]; expected 300 values");
  expect(() => step({ vScale: put(1, "f32") })).toThrow("vScale is [1]; expected 2 values");
  expect(() => step({}, { step: 0 })).toThrow("step is 0; expected 1, 2, 3, ...");
});
