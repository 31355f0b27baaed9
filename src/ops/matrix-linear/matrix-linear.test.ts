// Oracle: the float product, for what rounding activations to 15 bits may cost; reference.ts over quant/matrix-rows.ts, and float16 and bfloat16 held to every code of theirs and to Math.fround
// of what lies between. Bounds: float32 sums of K products of about 1: K · 2^-24 · sqrt(K), times what a gate makes of it;
// of int8 and int4, behind a norm, that a float32 ulp may move a code of 15 bits: 3 / 16256 times a weight and the gate.
import { describe, expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { codecOf, ggmlBytes } from "../../quant/ggml-types.ts";
import {
  matrixBytes,
  type MatrixFormat,
  matrixFormats,
  matrixRowBytes,
  packRow,
  unpackRow,
} from "../../quant/matrix-rows.ts";
import { panelRows } from "../../quant/packed-ternary.ts";
import type { OpContext } from "../op.ts";
import { ends, type LinearEnd, weightRows } from "../packed-linear/index.ts";
import { matrixLinear, matrixRows, packMatrix } from "./index.ts";
import { matrixLinear as reference } from "./reference.ts";
import { fromFloat16Bits, toFloat16Bits } from "../../quant/float16.ts";

const names = Object.keys(matrixFormats) as MatrixFormat[];
/** What the reference gives for a case, made once for all backends. */
const references = new Map<string, Float32Array>();

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: (shape, dtype) => ({ shape, dtype, buffer: backend.allocate(4 * shape.reduce((a, b) => a * b, 1)) }),
});

function packAll(w: Float32Array, n: number, k: number, format: MatrixFormat): Uint8Array {
  const packed = new Uint8Array(matrixBytes(n, k, format));
  for (let i = 0; i < n; i++) packRow(w.subarray(i * k, (i + 1) * k), format, packed, i * matrixRowBytes(k, format));
  return packed;
}

describe("formats", () => {
  test("all 65536 halves come back, and numbers between two go to the nearer, half to even", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromFloat16Bits(bits);
      if (toFloat16Bits(value) !== (Number.isNaN(value) ? 0x7e00 : bits)) wrong.push(bits);
      if ((bits & 0x7fff) >= 0x7bff) continue;
      const next = fromFloat16Bits(bits + 1);
      if (toFloat16Bits((value + next) / 2) !== bits + (bits & 1)) wrong.push(bits + 0.5);
    }
    expect(wrong).toEqual([]);
  });

  test("numbers come back within half a step of their format", () => {
    const w = normals(200, 1);
    const most = w.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
    const steps = { f32: 0, bf16: 2 ** -8 * most, f16: 2 ** -11 * most, int8: most / 254 + 1e-7, int4: most / 8 };
    for (const format of names) {
      const packed = new Uint8Array(matrixRowBytes(200, format) + 3);
      packRow(w, format, packed, 3);
      expectClose(unpackRow(packed, 3, 200, format), w, { abs: steps[format] }, format);
    }
    expect((8 * matrixRowBytes(1024, "int4")) / 1024).toBe(4.25);
  });
});

const shapes: [m: number, n: number, k: number, end: LinearEnd, gain: boolean][] = [
  [1, 40, 64, "store", true],
  [1, 5, 33, "add", false],
  [3, 18, 130, "silu", false],
  [7, 35, 17, "relu2", false],
  [8, 16, 200, "store", true],
  [13, 21, 100, "silu", true],
  [30, 33, 65, "add", false],
  [67, 35, 130, "silu", true],
  [70, 20, 72, "add", false],
];

forEachBackend(({ get }) => {
  test("matrices packed on the device are those packed on the host, and give their rows back", async () => {
    const backend = await get();
    const cx = contextOf(backend);
    const [n, k] = [21, 75];
    const w = normals(n * k, 3);
    w.fill(0, 0, 64);
    for (const format of names) {
      const host = new Uint8Array(matrixBytes(48, k, format));
      for (let i = 0; i < n; i++) {
        const at = 16 + Math.floor(i / panelRows) * 16 + (i % panelRows);
        packRow(w.subarray(i * k, (i + 1) * k), format, host, at * matrixRowBytes(k, format));
      }
      const empty = new Uint8Array(host.length);
      const matrix = { packed: place(backend, [host.length], "u8", empty), rows: 48, k, format };
      const rows = place(backend, [4 * n * k], "u8", new Uint8Array(w.buffer));
      packMatrix(backend, { rows, source: "F32", n }, matrix, { first: 16, step: panelRows });
      expect(await fetchArray(backend, matrix.packed)).toEqual(host);
      const ids = [16, 36, 17];
      const y = cx.create([3, k], "f32");
      matrixRows(cx, place(backend, [3], "i32", ids), matrix, y);
      const wanted = ids.flatMap((id) => [...unpackRow(host, id * matrixRowBytes(k, format), k, format)]);
      expect(await fetchArray(backend, y)).toEqual(Float32Array.from(wanted));
    }
  });

  // Oracle: the codecs of quant/, which are held to llama.cpp's bytes.
  test("rows of every float type of a file are packed as their floats are", async () => {
    const backend = await get();
    const [n, k] = [5, 512];
    for (const source of ["F32", "F16", "BF16", "Q8_0", "Q6_K"] as const) {
      const bytes = new Uint8Array(ggmlBytes(source, n * k));
      codecOf(source).encode!(normals(n * k, 8, 0.2), bytes);
      const floats = new Float32Array(n * k);
      codecOf(source).decode(bytes, floats);
      for (const format of names) {
        const packed = place(backend, [matrixBytes(n, k, format)], "u8", new Uint8Array(matrixBytes(n, k, format)));
        const rows = place(backend, [bytes.length], "u8", bytes);
        const to = { first: 0, step: panelRows };
        packMatrix(backend, { rows, source, n }, { packed, rows: n, k, format }, to);
        expect(await fetchArray(backend, packed), `${source} as ${format}`).toEqual(packAll(floats, n, k, format));
      }
    }
  });

  for (const format of names)
    test.for(shapes)(`${format}: [%i rows] by %i rows of %i, %s`, async ([m, n, k, end, withGain]) => {
      const backend = await get();
      const rows = weightRows(n, end);
      const weights = packAll(normals(rows * k, 1, 0.3), rows, k, format);
      const inputs = { x: normals(m * k, 2), gain: withGain ? normals(k, 3) : null, weights, y: normals(m * n, 4) };
      const on = (shape: number[], data: Float32Array) => place(backend, shape, "f32", data);
      const y = on([m, n], inputs.y);
      const matrix = { packed: place(backend, [weights.length], "u8", weights), rows, k, format };
      const gain = inputs.gain && on([k], inputs.gain);
      matrixLinear(contextOf(backend), on([m, k], inputs.x), gain, matrix, y, { end, normEps: 1e-5 });
      const key = `${format} ${m} ${n} ${k}`;
      const known = references.get(key);
      if (known) inputs.y.set(known);
      else reference(inputs, { m, n, k, normEps: 1e-5, format: matrixFormats[format], end: ends[end] });
      references.set(key, inputs.y);
      const got = (await fetchArray(backend, y)) as Float32Array;
      // Sums of integers are exact: without a norm and a gate, to the bit.
      if (format === "int8" && !withGain && end === "add") expect(got).toEqual(inputs.y);
      else if (format === "int8" || format === "int4")
        expectClose(got, inputs.y, { abs: k * 2e-6 + (withGain ? 2e-3 : 0), rel: 1e-4 });
      else expectClose(got, inputs.y, { abs: k * 2e-6, rel: 2e-5 });
    });

  test("int8 and int4 products are those of floats but for a 32512th of the largest activation", async () => {
    const backend = await get();
    const [m, n, k] = [9, 37, 390];
    const x = normals(m * k, 5);
    x[3] = 40; // an outlier, as hidden states have them
    x.fill(0, 2 * k, 3 * k);
    x[4 * k + 7] = Number.NaN;
    for (const format of ["int8", "int4"] as const) {
      const weights = packAll(normals(n * k, 6), n, k, format);
      const matrix = { packed: place(backend, [weights.length], "u8", weights), rows: n, k, format };
      const y = place(backend, [m, n], "f32", new Float32Array(m * n));
      matrixLinear(contextOf(backend), place(backend, [m, k], "f32", x), null, matrix, y, { end: "store", normEps: 0 });
      const got = (await fetchArray(backend, y)) as Float32Array;
      for (let i = 0; i < m; i++) {
        const row = x.subarray(i * k, (i + 1) * k);
        const most = row.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
        for (let j = 0; j < n; j++) {
          const w = unpackRow(weights, j * matrixRowBytes(k, format), k, format);
          const sum = w.reduce((total, v, p) => total + v * row[p], 0);
          const magnitude = w.reduce((total, v) => total + Math.abs(v), 0);
          if (i === 4) expect(got[i * n + j]).toBeNaN();
          else expect(Math.abs(got[i * n + j] - sum)).toBeLessThanOrEqual((most / 32512) * magnitude + 1e-5 * most);
        }
      }
    }
  });

  test("a row gives the same bits alone and among others", async () => {
    const backend = await get();
    const [n, k] = [20, 150];
    for (const format of names) {
      const weights = packAll(normals(n * k, 1), n, k, format);
      const matrix = { packed: place(backend, [weights.length], "u8", weights), rows: n, k, format };
      const x = normals(70 * k, 2);
      const run = async (m: number) => {
        const y: NDArray = place(backend, [m, n], "f32", new Float32Array(m * n));
        const rows = place(backend, [m, k], "f32", x.subarray((70 - m) * k));
        matrixLinear(contextOf(backend), rows, null, matrix, y, { end: "store", normEps: 0 });
        return ((await fetchArray(backend, y)) as Float32Array).subarray((m - 1) * n);
      };
      const alone = await run(1);
      for (const m of [2, 3, 4, 5, 8, 9, 64]) expect(await run(m)).toEqual(alone);
      if (format === "int8" || format === "int4") expect(await run(70)).toEqual(alone);
    }
  });
});

test("refuses sizes that do not fit", () => {
  const array = (shape: number[], dtype: NDArray["dtype"] = "f32"): NDArray => ({
    shape,
    dtype,
    buffer: { sizeBytes: 0 },
  });
  const matrix = { packed: array([matrixBytes(5, 8, "int8")], "u8"), rows: 5, k: 8, format: "int8" as const };
  const run = (x: number[], y: number[]) =>
    matrixLinear({} as OpContext, array(x), null, matrix, array(y), { end: "store", normEps: 0 });
  expect(() => run([1, 9], [1, 5])).toThrow(/expected a matrix of \[5, 9\]/);
  expect(() => run([1, 8], [1, 6])).toThrow(/expected a matrix of \[6, 8\]/);
  expect(() => matrixRows({} as OpContext, array([2], "i32"), matrix, array([1, 8]))).toThrow(/expected \[2, 8\]/);
});
