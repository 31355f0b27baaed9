// Oracle: reference.ts on every backend; reference.ts is held to PyTorch in test/parity. The gradient is straight-through
// and so is no derivative: it is held to its definition, the plain matrix products of ops/matmul on the dequantised
// operands.
// Bound: none for the forward (an exact integer, two roundings); where sums are float32, that of the weights' scale. For gradients as in matmul.test.ts: 2 √terms · 2^-24 ·
// sum |a·b|.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { bySums, expectCodes, needs, needsWidth } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { createBackend } from "../../backends/index.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { activationQuant } from "../activation-quant/index.ts";
import { matmulBackwardInput, matmulBackwardWeight } from "../matmul/reference.ts";
import type { Precision } from "../op.ts";
import { weightQuant } from "../weight-quant/index.ts";
import { cases } from "./cases.ts";
import { bitLinear } from "./index.ts";
import { gradientBlock } from "./int8-reference.ts";
import { bitLinearBackwardInput, bitLinearBackwardWeight } from "./reference.ts";

type Case = (typeof cases)[number];
type Floats = Float32Array;

interface Run {
  outputs: Floats[];
  dx: Floats;
  dws: Floats[];
  dresidual: Floats;
  /** int8 codes of x and their scales; then codes and scale of each weight. */
  saved: ArrayLike<number>[];
}

async function run(
  backend: Backend,
  c: Case,
  { add = false, precision = "fp32" as Precision, without = -1, residual = undefined as Floats | undefined } = {},
): Promise<Run> {
  const count = c.outputs.length;
  const weights = c.weights.map((w, i) => place(backend, [c.outputs[i], c.k], "f32", w));
  const quantized = weights.map((w) => runOp(backend, weightQuant, [w], { rule: "add", eps: 1e-6 }).outputs);
  const x = place(backend, [c.m, c.k], "f32", c.x);
  const inputs = [
    ...runOp(backend, activationQuant, [x], { eps: 1e-5 }).outputs,
    ...weights,
    ...quantized.map(([codes]) => codes),
    ...quantized.map(([, scale]) => scale),
    ...(residual ? [place(backend, [c.m, c.outputs[0]], "f32", residual)] : []),
  ];
  const result = runOp(
    backend,
    bitLinear,
    inputs,
    { residual: residual !== undefined },
    {
      outputGradients: c.outputGradients.map((dy, i) =>
        i === without ? null : place(backend, [c.m, c.outputs[i]], "f32", dy),
      ),
      accumulateInto: add ? [c.x, null, null, ...c.weights] : undefined,
      precision,
    },
  );
  const read = async (array: NDArray | undefined) => (array ? await fetchArray(backend, array) : []) as Floats;
  const all = (arrays: (NDArray | undefined)[]) => Promise.all(arrays.map(read));
  const others = result.gradients.filter((_, i) => i > 0 && (i < 3 || i >= 3 + count));
  expect(others.map((g) => g !== undefined)).toEqual(
    others.map((_, i) => residual !== undefined && i === others.length - 1),
  );
  return {
    outputs: await all(result.outputs),
    dx: await read(result.gradients[0]),
    dws: await all(result.gradients.slice(3, 3 + count)),
    dresidual: await read(residual ? result.gradients.at(-1) : undefined),
    saved: await all(result.saved),
  };
}

/** What reference.ts gives on the reference backend, and the sums of magnitudes that bounds are made of. */
const expected = new Map<Case, Promise<{ run: Run; dxSum: number; dwSums: number[] }>>();
function expectedOf(c: Case) {
  if (!expected.has(c)) expected.set(c, compute(c));
  return expected.get(c)!;
}
const inInt8 = new Map<Case, Promise<Run>>();
function int8Reference(c: Case) {
  if (!inInt8.has(c)) inInt8.set(c, run(createReferenceBackend(), c, { precision: "int8" }));
  return inInt8.get(c)!;
}
const largest = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => Math.max(a, b), 0);
const summing = (terms: number, sum: number) => 2 * Math.sqrt(terms + 1) * 2 ** -24 * sum;

async function compute(c: Case) {
  const result = await run(createReferenceBackend(), c);
  const [x, xScale] = [(result.saved[0] as Int8Array).map(Math.abs), result.saved[1] as Floats];
  const dys = c.outputGradients.map((dy) => dy.map(Math.abs));
  const dx = new Float32Array(c.m * c.k);
  bitLinearBackwardInput(
    c.outputs.map((n, i) => ({
      dy: dys[i],
      codes: (result.saved[2 + 2 * i] as Uint8Array).map((code) => 1 + Math.abs(code - 1)),
      scale: result.saved[3 + 2 * i][0],
      n,
    })),
    dx,
    c.m,
    c.k,
    0,
    0,
  );
  const dwSums = c.outputs.map((n, i) => {
    const dw = new Float32Array(n * c.k);
    bitLinearBackwardWeight(dys[i], x, xScale, dw, c.m, n, c.k, 0, 0);
    return largest(dw);
  });
  return { run: result, dxSum: largest(dx), dwSums };
}

function expectGradients(c: Case, actual: Run, wanted: Run, dxBound: number, dwBounds: number[], start: boolean) {
  const plus = (values: Floats, from: Floats) => (start ? values.map((v, i) => v + from[i]) : values);
  const rounding = { abs: start ? 2 ** -22 : 0, rel: 2 ** -23 };
  expectClose(actual.dx, plus(wanted.dx, c.x), { ...rounding, abs: rounding.abs + dxBound }, "dx");
  for (const [i, dw] of actual.dws.entries())
    expectClose(dw, plus(wanted.dws[i], c.weights[i]), { ...rounding, abs: rounding.abs + dwBounds[i] }, `dw ${i}`);
}

/** The same bits; where sums are float32, the weights' scale, a mean of |w|, is off by some ulps. */
function expectForward(b: Backend, actual: Run, wanted: Run) {
  for (const [i, y] of actual.outputs.entries())
    expectClose(y, wanted.outputs[i], bySums(b, {}, { rel: 2 ** -20 }), `y ${i}`);
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name: the forward to the last bit", async (c, { skip }) => {
    const b = await backend.get();
    needsWidth(b, skip, c.k);
    const { run: wanted, dxSum, dwSums } = await expectedOf(c);
    const dxTerms = c.outputs.reduce((a, b) => a + b);
    for (const add of [false, true]) {
      const actual = await run(b, c, { add });
      expectCodes(b, actual.saved[0], wanted.saved[0]);
      expectForward(b, actual, wanted);
      const dwBounds = dwSums.map((sum) => summing(c.m, sum));
      expectGradients(c, actual, wanted, summing(dxTerms, dxSum), dwBounds, add);
    }
  });

  test("in bfloat16 rounds dy, and nothing else, in every case", async ({ skip }) => {
    const b = await backend.get();
    if (!b.supports.bf16) skip(`${b.name} ${b.isa} has no bfloat16 products`);
    for (const c of cases) {
      const { run: fp32, dxSum, dwSums } = await expectedOf(c);
      const actual = await run(b, c, { precision: "bf16" });
      expect(actual.outputs).toEqual(fp32.outputs);
      // Against the definition with rounded dy: summing errors only.
      const [x, xScale] = fp32.saved as [Int8Array, Floats];
      const terms = c.outputs.map((n, i) => ({
        dy: c.outputGradients[i],
        codes: fp32.saved[2 + 2 * i] as Uint8Array,
        scale: fp32.saved[3 + 2 * i][0],
        n,
      }));
      const rounded = {
        ...fp32,
        dx: new Float32Array(c.m * c.k),
        dws: fp32.dws.map((dw) => new Float32Array(dw.length)),
      };
      bitLinearBackwardInput(terms, rounded.dx, c.m, c.k, 0, 1);
      for (const [i, { dy, n }] of terms.entries())
        bitLinearBackwardWeight(dy, x, xScale, rounded.dws[i], c.m, n, c.k, 0, 1);
      const dxTerms = c.outputs.reduce((a, b) => a + b);
      const dwBounds = dwSums.map((sum) => summing(c.m, sum));
      expectGradients(c, actual, rounded, summing(dxTerms, dxSum), dwBounds, false);
      // Against float32: dy is off by 2^-8 of itself at most; codes are exact.
      const loose = dwSums.map((sum) => 1.01 * 2 ** -8 * sum);
      expectGradients(c, actual, fp32, 1.01 * 2 ** -8 * dxSum, loose, false);
    }
  });

  test("in int8 agrees with the reference, the forward to the last bit", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "int8Gradients", "anyByteWidth");
    for (const c of cases) {
      const wanted = await int8Reference(c);
      // Exact integers times a scale, rounded once a stretch of k and launch, or a block of rows.
      const bound = (values: Floats, roundings: number) => largest(values.map(Math.abs)) * roundings * 2 ** -24;
      const dxBound = bound(wanted.dx, 4 * Math.ceil(c.outputs.length / 3));
      const dwBounds = wanted.dws.map((dw) => bound(dw, 2 * Math.ceil(c.m / gradientBlock)));
      for (const add of [false, true]) {
        const actual = await run(b, c, { precision: "int8", add });
        expectForward(b, actual, wanted);
        expectGradients(c, actual, wanted, dxBound, dwBounds, add);
      }
    }
  });

  test("in int8 has zero gradients for rows and columns of zeros, and NaN for what is not finite", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "int8Gradients", "ieee", "anyByteWidth");
    const c = cases[8];
    const dys = c.outputGradients.map((dy) => Float32Array.from(dy));
    const [zero, small, bad] = [3, 4, 99];
    for (const [i, n] of c.outputs.entries()) {
      dys[i].fill(0, zero * n, (zero + 1) * n);
      dys[i].fill(1e-38, small * n, (small + 1) * n);
    }
    dys[1][bad * c.outputs[1] + 5] = Number.POSITIVE_INFINITY;
    const [still, n] = [7, c.outputs[1]];
    for (let m = 0; m < c.m; m++) dys[1][m * n + still] = 0;
    const { dx, dws } = await run(b, { ...c, outputGradients: dys }, { precision: "int8" });
    const rowOf = (m: number) => Array.from(dx.slice(m * c.k, (m + 1) * c.k));
    for (const m of [zero, small]) expect(rowOf(m).every((v) => v === 0)).toBe(true);
    expect(rowOf(bad).every(Number.isNaN)).toBe(true);
    expect(rowOf(bad - 1).every(Number.isFinite)).toBe(true);
    const columnOf = (j: number) => Array.from(dws[1].slice(j * c.k, (j + 1) * c.k));
    expect(columnOf(still).every((v) => v === 0)).toBe(true);
    expect(columnOf(5).every(Number.isNaN)).toBe(true);
    expect(columnOf(6).every(Number.isFinite)).toBe(true);
  });

  test("adds a residual to the output, rounding as a sum of its own does, and passes it the output's gradient", async () => {
    for (const c of cases.filter((one) => one.outputs.length === 1)) {
      const residual = c.outputGradients[0].map((v) => 3 * v);
      const plain = await run(await backend.get(), c);
      const actual = await run(await backend.get(), c, { residual });
      expect(actual.outputs[0]).toEqual(plain.outputs[0].map((v, i) => v + residual[i]));
      expect(actual.dresidual).toEqual(c.outputGradients[0]);
      expect([actual.dx, actual.dws]).toEqual([plain.dx, plain.dws]);
    }
  });

  test("gives no gradient to a weight whose output got none, and leaves it out of dx", async () => {
    const c = cases[1];
    const alone = { ...c, ...only(c, [0, 2]) };
    const actual = await run(await backend.get(), c, { without: 1 });
    const wanted = await run(await backend.get(), alone);
    expect(actual.dws.map((dw) => dw.length)).toEqual([c.weights[0].length, 0, c.weights[2].length]);
    expect(actual.dx).toEqual(wanted.dx);
  });

  test("gives NaN, and never plausible numbers, for a row or a weight that is not finite", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "ieee", "anyByteWidth");
    for (const m of [3, 30]) {
      const { k, outputs, weights } = cases[6];
      const x = cases[8].x.slice(0, m * k);
      x[k + 5] = Number.POSITIVE_INFINITY;
      const c = { ...cases[6], m, x, outputGradients: [cases[8].x.slice(0, m * outputs[0])] };
      const [y] = (await run(b, c)).outputs;
      const bad = Array.from({ length: m }, (_, i) => y.slice(i * outputs[0], (i + 1) * outputs[0]).some(Number.isNaN));
      expect(bad).toEqual(Array.from({ length: m }, (_, i) => i === 1));
      expect(y.slice(outputs[0], 2 * outputs[0]).every(Number.isNaN)).toBe(true);
      for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
        const w = Float32Array.from(weights[0]);
        w[7] = value;
        const worse = await run(b, { ...c, x: cases[8].x.slice(0, m * k), weights: [w] });
        expect(worse.outputs[0].every(Number.isNaN)).toBe(true);
      }
    }
  });

  test("gives the same bits again, and with any number of threads", async () => {
    const c = cases[8];
    const first = await run(await backend.get(), c);
    expect(await run(await backend.get(), c)).toEqual(first);
    const single = await createBackend({ ...backend.choice, threads: 1 });
    expect(await run(single, c)).toEqual(first);
    single.close();
  });
});

/** The case with these of its weights only. */
function only(c: Case, which: number[]) {
  const pick = <T>(list: T[]) => which.map((i) => list[i]);
  return { outputs: pick(c.outputs), weights: pick(c.weights), outputGradients: pick(c.outputGradients) };
}

test("the gradient is straight-through: the products with the dequantised other factor", async () => {
  const c = cases[5];
  const { dx, dws, saved } = await run(createReferenceBackend(), c);
  const xDequantised = Float32Array.from(saved[0], (code, i) => code * saved[1][Math.floor(i / c.k)]);
  const expectedDx = new Float32Array(dx.length);
  for (const [i, n] of c.outputs.entries()) {
    const w = Float32Array.from(saved[2 + 2 * i], (code) => (code - 1) * saved[3 + 2 * i][0]);
    matmulBackwardInput(c.outputGradients[i], w, expectedDx, c.m, n, c.k, i, 0);
    const dw = new Float32Array(n * c.k);
    matmulBackwardWeight(c.outputGradients[i], xDequantised, dw, c.m, n, c.k, 0, 0);
    // Dequantised operands are rounded once more than codes and scales: 2^-24 of each product.
    expectClose(dws[i], dw, { abs: 1e-5, rel: 1e-6 }, `dw ${i}`);
  }
  expectClose(dx, expectedDx, { abs: 1e-5, rel: 1e-6 }, "dx");
});

test("in int8 dx is no farther from the float one than half a code of every term", async () => {
  for (const c of cases.filter(({ outputs }) => outputs.length <= 3)) {
    const backend = createReferenceBackend();
    const exact = await run(backend, c);
    const { dx } = await int8Reference(c);
    const terms = new Float64Array(c.k);
    for (const i of c.outputs.keys())
      for (const [at, code] of Array.from(exact.saved[2 + 2 * i]).entries()) terms[at % c.k] += Math.abs(code - 1);
    for (let m = 0; m < c.m; m++) {
      const most = c.outputs.map((n, i) => {
        const dy = c.outputGradients[i].subarray(m * n, (m + 1) * n);
        return largest(dy.map(Math.abs)) * exact.saved[3 + 2 * i][0];
      });
      const half = Math.max(...most) / 127 / 2;
      const beyond = terms.findIndex(
        (count, k) => Math.abs(dx[m * c.k + k] - exact.dx[m * c.k + k]) > count * half * 1.001 + 1e-7,
      );
      expect(beyond).toBe(-1);
    }
  }
});

test("refuses codes of another shape, and inputs that are not threes", () => {
  const backend = createReferenceBackend();
  const x = runOp(backend, activationQuant, [place(backend, [2, 4], "f32", new Float32Array(8))], {
    eps: 1e-5,
  }).outputs;
  const w = place(backend, [3, 4], "f32", new Float32Array(12));
  const codes = place(backend, [4, 3], "u8", new Uint8Array(12));
  const scale = place(backend, [1], "f32", [1]);
  expect(() => runOp(backend, bitLinear, [...x, w, codes, scale], {})).toThrow(
    "bit-linear: x is [2,4], weight 0 is [3,4], its codes are u8 [4,3]; expected [N, 4] and u8 codes of that shape",
  );
  expect(() => runOp(backend, bitLinear, [...x, w, codes], {})).toThrow("bit-linear: 5 inputs came");
  const right = place(backend, [3, 4], "u8", new Uint8Array(12));
  expect(() => runOp(backend, bitLinear, [...x, w, right, scale, w], { residual: true })).toThrow(
    "bit-linear: the residual is [3,4] and there are 1 weights; expected one weight, and a residual [2,3]",
  );
  expect(() => runOp(backend, bitLinear, [scale, scale, scale, w, right, scale], {})).toThrow("expected i8 codes");
});
