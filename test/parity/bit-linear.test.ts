// Oracle: PyTorch 1.13 through the ops' fixtures.json: of bit-linear and matmul (float64 from float32 inputs, rounded
// once), of activation-quant and weight-quant (exact float32).
// Bound: none for codes and integer sums, whose values before rounding lie clear of the halves (the fixture says by how
// much). For the rest four times PyTorch's own float32 error on the same inputs, which the fixture states.
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { activationQuant } from "../../src/ops/activation-quant/index.ts";
import { bitLinear } from "../../src/ops/bit-linear/index.ts";
import { matmul } from "../../src/ops/matmul/index.ts";
import { rmsNorm } from "../../src/ops/rms-norm/index.ts";
import { type ScaleRule, weightQuant } from "../../src/ops/weight-quant/index.ts";
import { fetchArray, forEachBackend, place, runOp } from "../support/backends.ts";
import { expectClose } from "../support/expect-close.ts";
import { readFixtures } from "../support/fixtures.ts";

type Matrix = number[][];
interface BitLinearCase {
  norm: "none" | "rms" | "rms_gain";
  wq: ScaleRule;
  act_k: number[];
  x_q: Matrix;
  w_scale: number;
  w_q: Matrix;
  acc_int32: Matrix;
  y: Matrix;
  dx: Matrix;
  dW: Matrix;
  dgain?: number[];
}
interface BitLinearFixture {
  x: Matrix;
  W: Matrix;
  dy: Matrix;
  gain: number[];
  cases: BitLinearCase[];
  torch_fp32_max_abs_err: Record<"y" | "dx" | "dW" | "dgain", number>;
}
type Special = number | "NaN" | "Infinity" | "-Infinity";
interface EdgeFixture {
  act: Record<string, { x: Special[]; k: Special; q: Special[]; dequant: Special[] }>;
  weight: Record<
    string,
    { W: Special[][] } & Record<ScaleRule, { scale: Special; q: Special[][]; dequant: Special[][] }>
  >;
}
const put = (backend: Backend, matrix: Matrix) =>
  place(backend, [matrix.length, matrix[0].length], "f32", matrix.flat());

forEachBackend((backend) => {
  test("BitLinear agrees with PyTorch: codes and integer sums exactly, then output and gradients, for both scale rules and each norm", async () => {
    const b = await backend.get();
    const f: BitLinearFixture = readFixtures("bit-linear");
    const [x, w, dy] = [put(b, f.x), put(b, f.W), put(b, f.dy)];
    const bounds = f.torch_fp32_max_abs_err;
    const width = f.gain.length;
    for (const c of f.cases) {
      const what = `${c.norm}, ${c.wq}`;
      const gain = place(b, [width], "f32", c.norm === "rms_gain" ? f.gain : f.gain.map(() => 1));
      const normed = c.norm === "none" ? x : runOp(b, rmsNorm, [x, gain], { eps: 1e-5 }).outputs[0];
      const [codes, scale] = runOp(b, weightQuant, [w], { rule: c.wq, eps: 1e-5 }).outputs;
      const quantised = runOp(b, activationQuant, [normed], { eps: 1e-5 }).outputs;
      const run = runOp(b, bitLinear, [...quantised, w, codes, scale], {}, { outputGradients: [dy] });

      expect(Array.from(await fetchArray(b, codes)), what).toEqual(c.w_q.flat().map((q) => q + 1));
      expectClose(await fetchArray(b, scale), [c.w_scale], { rel: 2 ** -22 }, `${what}: scale`);
      const [xCodes, xScale] = await Promise.all(run.saved.slice(0, 2).map((a) => fetchArray(b, a)));
      expect(Array.from(xCodes), what).toEqual(c.x_q.flat());
      const scales = c.act_k.map((k) => 1 / k);
      expectClose(xScale, scales, { rel: 2 ** -20 }, `${what}: scales of x`);

      const y = await fetchArray(b, run.outputs[0]);
      expectClose(y, c.y.flat(), { abs: 4 * bounds.y }, `${what}: y`);
      const n = f.W.length;
      const s = (await fetchArray(b, scale))[0];
      const sums = Array.from(y, (value, i) => Math.round(value / Math.fround(xScale[Math.floor(i / n)] * s)));
      expect(
        sums.map((sum) => sum + 0),
        what,
      ).toEqual(c.acc_int32.flat());

      expectClose(await fetchArray(b, run.gradients[3]!), c.dW.flat(), { abs: 4 * bounds.dW }, `${what}: dW`);
      let dx = run.gradients[0]!;
      if (c.norm !== "none") {
        const norm = runOp(b, rmsNorm, [x, gain], { eps: 1e-5 }, { outputGradients: [dx] });
        dx = norm.gradients[0]!;
        if (c.dgain)
          expectClose(await fetchArray(b, norm.gradients[1]!), c.dgain, { abs: 4 * bounds.dgain }, `${what}: dgain`);
      }
      expectClose(await fetchArray(b, dx), c.dx.flat(), { abs: 4 * bounds.dx }, `${what}: dx`);
    }
  });

  test("matmul agrees with PyTorch's linear, forward and gradients", async () => {
    const b = await backend.get();
    const f = readFixtures("matmul").linear;
    const run = runOp(b, matmul, [put(b, f.x), put(b, f.W)], {}, { outputGradients: [put(b, f.dy)] });
    for (const [what, array] of [
      ["y", run.outputs[0]],
      ["dx", run.gradients[0]!],
      ["dW", run.gradients[1]!],
    ] as const)
      expectClose(
        await fetchArray(b, array),
        f.expect[what].flat(),
        { abs: Math.max(4 * f.torch_fp32_max_abs_err[what], 2 ** -23) },
        what,
      );
  });

  test("activation codes are PyTorch's for ties, zeros, denormals, huge values, NaN and infinity", async () => {
    const b = await backend.get();
    const act: EdgeFixture["act"] = readFixtures("activation-quant");
    for (const [name, c] of Object.entries(act)) {
      const x = place(b, [1, c.x.length], "f32", c.x.map(Number));
      const { outputs } = runOp(b, activationQuant, [x], { eps: 1e-5 });
      const [codes, [scale]] = await Promise.all(outputs.map((a) => fetchArray(b, a)));
      // Where PyTorch has NaN as a code, an integer has 0, and the scale makes the product NaN.
      expect(Array.from(codes), name).toEqual(c.q.map((q) => Number(q) || 0));
      // PyTorch divides by k = 127 / absmax; the scale is absmax / 127: one rounding less, so one unit either way.
      const dequantised = Array.from(codes, (code) => Math.fround(code * scale));
      expectClose(dequantised, c.dequant.map(Number), { rel: 2 ** -22 }, name);
    }
  });

  test("weight codes are PyTorch's for ties, zeros, denormals, huge values, NaN and infinity, under both scale rules", async () => {
    const b = await backend.get();
    const weight: EdgeFixture["weight"] = readFixtures("weight-quant");
    for (const [name, c] of Object.entries(weight)) {
      // PyTorch's float32 sum overflows there; ours is float64, and the mean is what it is.
      if (name === "sum_overflows_f32") continue;
      const w = place(b, [c.W.length, c.W[0].length], "f32", c.W.flat().map(Number));
      for (const rule of ["add", "clamp"] as const) {
        const { outputs } = runOp(b, weightQuant, [w], { rule, eps: 1e-5 });
        const [codes, [scale]] = await Promise.all(outputs.map((a) => fetchArray(b, a)));
        const q = c[rule].q.flat().map((value) => Number(value) || 0);
        expect(Array.from(codes), `${name}, ${rule}`).toEqual(q.map((value) => value + 1));
        // Under `clamp` PyTorch's scale is 1 / (1 / s): a unit either way.
        expectClose([scale], [Number(c[rule].scale)], { rel: 2 ** -23 }, `${name}, ${rule}: scale`);
        const dequantised = Array.from(codes, (code) => Math.fround((code - 1) * scale));
        expectClose(dequantised, c[rule].dequant.flat().map(Number), { rel: 2 ** -22 }, `${name}, ${rule}`);
      }
    }
  });
});
