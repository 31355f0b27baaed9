// Oracle: PyTorch 1.13 through the ops' fixtures.json (computed in float64 from float32 inputs, rounded once), for ops
// that are neither matrix products nor attention.
// Bound: four times PyTorch's own float32 error on the same inputs, which the fixture states; the bare float32 rounding
// of the largest value where that is more.
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { adamwStep } from "../../src/ops/adamw/index.ts";
import { embedding } from "../../src/ops/embedding/index.ts";
import type { Op, OpContext } from "../../src/ops/op.ts";
import { rmsNorm } from "../../src/ops/rms-norm/index.ts";
import { sumSquares } from "../../src/ops/sum-squares/index.ts";
import { fetchArray, forEachBackend, place, runOp } from "../support/backends.ts";
import { expectClose } from "../support/expect-close.ts";
import { readFixtures } from "../support/fixtures.ts";

type Nested = number | Nested[];
interface Fixture {
  [field: string]: unknown;
  expect: Record<string, Nested[]>;
  torch_fp32_max_abs_err: Record<string, number>;
}

const flat = (nested: unknown): number[] => (Array.isArray(nested) ? nested.flatMap(flat) : [nested as number]);
function shapeOf(nested: unknown): number[] {
  return Array.isArray(nested) ? [nested.length, ...shapeOf(nested[0])] : [];
}
const put = (backend: Backend, nested: unknown, dtype: "f32" | "i32" = "f32") =>
  place(backend, shapeOf(nested), dtype, flat(nested));

function close(f: Fixture, what: string, actual: ArrayLike<number>, expected = flat(f.expect[what])): void {
  const largest = Math.max(...expected.map(Math.abs));
  expectClose(actual, expected, { abs: Math.max(4 * f.torch_fp32_max_abs_err[what], largest * 2 ** -23) }, what);
}

async function checkOp<P>(
  backend: Backend,
  op: Op<P>,
  f: Fixture,
  inputs: [field: string, dtype: "f32" | "i32", gradient?: string][],
  params: P,
) {
  const { outputs, gradients } = runOp(
    backend,
    op,
    inputs.map(([field, dtype]) => put(backend, f[field], dtype)),
    params,
    { outputGradients: [put(backend, f.dy)], wanted: inputs.map(([, , gradient]) => gradient !== undefined) },
  );
  close(f, "y", await fetchArray(backend, outputs[0]));
  for (const [i, [, , gradient]] of inputs.entries())
    if (gradient) close(f, gradient, await fetchArray(backend, gradients[i]!));
}

forEachBackend((backend) => {
  test("RMSNorm agrees with PyTorch, forward and both gradients", async () => {
    const f = readFixtures("rms-norm").rmsnorm as Fixture;
    await checkOp(
      await backend.get(),
      rmsNorm,
      f,
      [
        ["x", "f32", "dx"],
        ["gain", "f32", "dgain"],
      ],
      { eps: f.eps as number },
    );
  });

  test("embedding agrees with PyTorch, forward and gradient", async () => {
    await checkOp(
      await backend.get(),
      embedding,
      readFixtures("embedding").embedding as Fixture,
      [
        ["ids", "i32"],
        ["E", "f32", "dE"],
      ],
      {},
    );
  });

  test("clipped AdamW steps agree with PyTorch", async () => {
    const f = readFixtures("adamw").adamw_clip as Fixture;
    const device = await backend.get();
    const cx: OpContext = { backend: device, precision: "fp32", create: () => expect.fail("no scratch") };
    const weight = put(device, f.p0);
    const n = weight.shape[0];
    const [m, v] = [0, 1].map(() => place(device, [n], "f32", new Float32Array(n)));
    const square = place(device, [1], "f32", [Number.NaN]);
    for (const [i, grads] of (f.grads as number[][]).entries()) {
      const gradient = put(device, grads);
      sumSquares(cx, gradient, square, 0);
      const norm = Math.sqrt((await fetchArray(device, square))[0]);
      close(f, "grad_norm_before_clip", [norm], [f.expect.grad_norm_before_clip[i] as number]);
      adamwStep(
        cx,
        { weight, gradient, m, v },
        {
          learningRate: f.lr as number,
          beta1: f.beta1 as number,
          beta2: f.beta2 as number,
          eps: f.eps as number,
          weightDecay: f.weight_decay as number,
          step: i + 1,
          gradientScale: Math.min(1, (f.max_norm as number) / (norm + 1e-6)),
        },
      );
      close(f, "p_after", await fetchArray(device, weight), flat(f.expect.p_after[i]));
    }
    close(f, "m", await fetchArray(device, m));
    close(f, "v", await fetchArray(device, v));
  });
});
