// Oracle: reference.ts, which is made of the references of rms-norm, activation-quant and gated-activation (held to
// PyTorch's values there) around an integer product; the engine's tests hold it to training's layers.
// Bounds: the integer product is exact and the scales are rounded as the reference rounds them, so without a norm and a
// gate kernels agree with it to the bit, on every instruction set. A gate is within a few ulp. Behind a norm a float32 ulp
// may move an int8 code by one where it lies half way: one code or two of a row, times a weight of 1: scale(x) · s.
import { describe, expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { integers, normals } from "../../../test/support/random.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { codecOf, ggmlBytes } from "../../quant/ggml-types.ts";
import { encodeI2S } from "../../quant/i2-s.ts";
import { packedBytes, panelRows, packTernary as packOnHost, unpackTernary } from "../../quant/packed-ternary.ts";
import type { OpContext } from "../op.ts";
import { cases, type PackedCase } from "./cases.ts";
import { packedLinear, packTernary, weightRows } from "./index.ts";
import { ends, formats, packedLinear as reference } from "./reference.ts";

const normEps = 1e-5;
/** What the reference gives for a case, made once for all backends. */
const references = new Map<string, Float32Array>();

function contextOf(backend: Backend): OpContext {
  const create: OpContext["create"] = (shape, dtype) => ({
    shape,
    dtype,
    buffer: backend.allocate(4 * shape.reduce((a, b) => a * b, 1)),
  });
  return { backend, precision: "fp32", create };
}

function inputsOf({ m, n, k, end, format, gain }: PackedCase) {
  const rows = weightRows(n, end);
  const whole = Math.ceil(rows / panelRows) * panelRows;
  const codes = Uint8Array.from(integers(rows * k, 1, 3));
  const packed = new Uint8Array(packedBytes(rows, k, format));
  packOnHost(codes, rows, k, format, packed);
  const scales = normals(whole, 2).map((v) => 0.02 + Math.abs(v) / 50);
  const x = normals(m * k, 3, 2);
  // Codes at both ends of their range, so that partial sums are as large as they get.
  if (m > 1) x.fill(3, 0, k);
  return { rows, whole, codes, packed, scales, x, gain: gain ? normals(k, 4) : null, y: normals(m * n, 5) };
}

describe("packing", () => {
  test("every byte of five trits gives its digits back, by multiplying and by averaging as kernels do", () => {
    const average = (a: number, b: number) => (a + b + 1) >> 1;
    for (let value = 0; value < 243; value++) {
      const codes = Array.from({ length: 5 }, (_, t) => Math.floor(value / 3 ** (4 - t)) % 3);
      const row = new Uint8Array(20).fill(1);
      for (let t = 0; t < 5; t++) row[4 * t] = codes[t];
      const packed = new Uint8Array(packedBytes(1, 20, "trits"));
      packOnHost(row, 1, 20, "trits", packed);
      expect([...unpackTernary(packed, 1, 20, "trits")]).toEqual([...row]);
      let byte = packed[0];
      const averaged = codes.map(() => {
        const digit = (average(byte, average(byte, 253)) >> 6) - 1;
        byte = (3 * byte) & 255;
        return digit;
      });
      expect(averaged).toEqual(codes);
    }
  });

  test("rows are placed where they are asked for, and come back", () => {
    for (const format of ["2bit", "trits"] as const) {
      const packed = new Uint8Array(packedBytes(96, 37, format));
      const codes = [1, 2].map((seed) => Uint8Array.from(integers(40 * 37, seed, 3)));
      const at = [0, 1].map((i) => ({ first: 16 * i, step: 32 }));
      for (const i of [0, 1]) packOnHost(codes[i], 40, 37, format, packed, at[i]);
      for (const i of [0, 1]) expect(unpackTernary(packed, 40, 37, format, at[i])).toEqual(codes[i]);
      expect(packed.length * 8).toBe((format === "2bit" ? 2 * 48 : 1.6 * 40) * 96);
    }
  });
});

forEachBackend(({ get }) => {
  test("packing on the device gives the bytes of packing on the host", async () => {
    const backend = await get();
    for (const format of ["2bit", "trits"] as const) {
      const codes = Uint8Array.from(integers(21 * 77, 9, 3));
      const host = new Uint8Array(packedBytes(64, 77, format)).fill(7);
      const packed = place(backend, [host.length], "u8", host);
      packOnHost(codes, 21, 77, format, host, { first: 16, step: 32 });
      const scales = place(backend, [64], "f32", new Float32Array(64));
      const weight = { packed, offset: 0, scales, rows: 64, k: 77, format };
      const rows = place(backend, [21, 77], "u8", codes);
      packTernary(backend, { rows, source: "codes", n: 21 }, weight, { first: 16, step: 32 }, scales);
      expect(await fetchArray(backend, packed)).toEqual(host);
    }
  });

  // Oracle: the codecs of quant/, which are held to llama.cpp's bytes.
  test("rows of every ternary type of a file are packed as their codes are, with their scale", async () => {
    const backend = await get();
    const [n, k] = [19, 512];
    const codes = Uint8Array.from(integers(n * k, 9, 3));
    codes.fill(1, 0, k + 256); // a row of zeros, and a block of them
    const scale = 0.0625;
    const values = Float32Array.from(codes, (code) => (code - 1) * scale);
    const types = ["TQ2_0", "TQ1_0", "Q2_0", "I2_S", "F32", "F16", "BF16", "Q8_0", "codes"] as const;
    for (const format of ["2bit", "trits"] as const)
      for (const source of types) {
        let bytes: Uint8Array = codes;
        if (source === "I2_S") bytes = encodeI2S(codes, scale);
        else if (source !== "codes") {
          bytes = new Uint8Array(ggmlBytes(source, n * k));
          const codec = codecOf(source);
          if (codec.encodeTernary) codec.encodeTernary(codes, scale, bytes);
          else codec.encode!(values, bytes);
        }
        const offset = 192;
        const host = new Uint8Array(offset + packedBytes(32, k, format)).fill(7);
        const packed = place(backend, [host.length], "u8", host);
        packOnHost(codes, n, k, format, host.subarray(offset), { first: 0, step: panelRows });
        const scales = place(backend, [32], "f32", new Float32Array(32));
        const weight = { packed, offset, scales, rows: 32, k, format };
        const rows = place(backend, [bytes.length], "u8", bytes);
        packTernary(backend, { rows, source, n }, weight, { first: 0, step: panelRows }, scales);
        expect(await fetchArray(backend, packed)).toEqual(host);
        const found = [...(await fetchArray(backend, scales))].slice(0, n);
        const own = source === "codes" || source === "I2_S" ? 1 : scale;
        expect(found).toEqual([0, ...Array.from({ length: n - 1 }, () => own)]);
      }
  });

  test("a row whose blocks have several scales, or a code of 3, has none", async () => {
    const backend = await get();
    const codes = Uint8Array.from(integers(3 * 512, 9, 3));
    const bytes = new Uint8Array(ggmlBytes("TQ2_0", codes.length));
    codecOf("TQ2_0").encodeTernary!(codes, 0.5, bytes);
    bytes[132 + 66 + 65] = 0x3c; // row 1, block 1: 1 for 0.5
    bytes[264 + 5] |= 0xc0; // row 2: a code of 3
    const packed = place(backend, [packedBytes(16, 512, "2bit")], "u8", new Uint8Array(packedBytes(16, 512, "2bit")));
    const scales = place(backend, [16], "f32", new Float32Array(16));
    const weight = { packed, offset: 0, scales, rows: 16, k: 512, format: "2bit" as const };
    const rows = place(backend, [bytes.length], "u8", bytes);
    packTernary(backend, { rows, source: "TQ2_0", n: 3 }, weight, { first: 0, step: panelRows }, scales);
    expect([...(await fetchArray(backend, scales))].slice(0, 3)).toEqual([0.5, Number.NaN, Number.NaN]);
  });

  for (const [floatActivations, levels] of [
    [false, 127],
    [false, 7],
    [true, 127],
  ] as const)
    test.for(cases)(
      `agrees with the reference for $name${floatActivations ? ", float activations" : `, codes up to ${levels}`}`,
      async (c) => {
        const backend = await get();
        const { m, n, k, end, format } = c;
        const inputs = inputsOf(c);
        const { rows, whole } = inputs;
        const on = (shape: number[], data: Float32Array) => place(backend, shape, "f32", data);
        const y = on([m, n], inputs.y);
        const weight = {
          packed: place(backend, [inputs.packed.length], "u8", inputs.packed),
          offset: 0,
          scales: on([whole], inputs.scales),
          ...{ rows, k, format },
        };
        const gain = inputs.gain && on([k], inputs.gain);
        packedLinear(contextOf(backend), on([m, k], inputs.x), gain, weight, y, {
          ...{ end, normEps, floatActivations, levels },
        });
        const sizes = { m, n, k, normEps, quantEps: 1e-5, end: ends[end], format: formats[format], levels };
        const key = `${c.name} ${floatActivations} ${levels}`;
        const known = references.get(key);
        if (known) inputs.y.set(known);
        else
          reference({ ...inputs, weights: inputs.packed }, { ...sizes, floats: floatActivations ? 1 : 0, offset: 0 });
        references.set(key, inputs.y);
        const got = (await fetchArray(backend, y)) as Float32Array;
        const sums = Math.sqrt(k) * 2 * 0.1;
        // Float sums: K products of about 2, each rounding within 2^-24 of a running sum.
        if (floatActivations) expectClose(got, inputs.y, { abs: k * sums * 1e-6 * 4 + 1e-5, rel: 1e-5 });
        else if (!inputs.gain && (end === "store" || end === "add")) expect(got).toEqual(inputs.y);
        else if (!inputs.gain) expectClose(got, inputs.y, { abs: 1e-6 * sums, rel: 2e-6 });
        else expectClose(got, inputs.y, { abs: 0.1 * sums + 1e-5, rel: 1e-5 });
      },
    );
});

test("refuses sizes that do not fit", () => {
  const array = (shape: number[], dtype: NDArray["dtype"] = "f32"): NDArray => ({
    shape,
    dtype,
    buffer: { sizeBytes: 0 },
  });
  const weight = {
    packed: array([64], "u8"),
    offset: 0,
    scales: array([16]),
    rows: 16,
    k: 16,
    format: "2bit" as const,
  };
  const run = (x: number[], y: number[], gain: number[] | null = null) =>
    packedLinear({} as OpContext, array(x), gain && array(gain), weight, array(y), { end: "store", normEps });
  expect(() => run([1, 17], [1, 16])).toThrow(/x is \[1,17\].*expected a weight of \[16, 17\]/);
  expect(() => run([1, 16], [1, 17])).toThrow(/weight of \[17, 16\]/);
  expect(() => run([2, 16], [1, 16])).toThrow(/expected/);
  expect(() => run([1, 16], [1, 16], [15])).toThrow(/expected/);
});
