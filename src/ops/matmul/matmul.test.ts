// Oracle: reference.ts on every backend; reference.ts itself is held to PyTorch in test/parity and to a finite
// difference here.
// Bound: a float32 sum of K products, each step rounding by at most 2^-24 of a running sum no larger than S = sum |a·b|.
// The roundings have both signs, so 2 √K · 2^-24 · S is used and not K · 2^-24 · S; a product left out or taken twice
// would show as about S / K, hundreds of times more.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createBackend } from "../../backends/index.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { Precision } from "../op.ts";
import { cases } from "./cases.ts";
import { matmul } from "./index.ts";
import { matmulBackwardInput, matmulBackwardWeight, matmulForward } from "./reference.ts";

type Case = (typeof cases)[number];
const names = ["y", "dx", "dw"] as const;

async function run(backend: Backend, c: Case, add: boolean, precision: Precision = "fp32"): Promise<Float32Array[]> {
  const inputs = [place(backend, [c.m, c.k], "f32", c.x), place(backend, [c.n, c.k], "f32", c.w)];
  const { outputs, gradients } = runOp(
    backend,
    matmul,
    inputs,
    {},
    {
      outputGradients: [place(backend, [c.m, c.n], "f32", c.dy)],
      accumulateInto: add ? [c.x, c.w] : undefined,
      precision,
    },
  );
  const arrays = [outputs[0], gradients[0]!, gradients[1]!];
  return (await Promise.all(arrays.map((a) => fetchArray(backend, a)))) as Float32Array[];
}

/** y, dx and dw by reference.ts. */
function reference({ x, w, dy, m, n, k }: Omit<Case, "name">, bf16: 0 | 1): Float32Array[] {
  const y = new Float32Array(m * n);
  const dx = new Float32Array(m * k);
  const dw = new Float32Array(n * k);
  matmulForward(x, w, y, m, n, k, bf16);
  matmulBackwardInput(dy, w, dx, m, n, k, 0, bf16);
  matmulBackwardWeight(dy, x, dw, m, n, k, 0, bf16);
  return [y, dx, dw];
}

/** The largest sum |a·b| of y, dx and dw, and their numbers of products. */
function sizesOf(c: Case) {
  const abs = (values: Float32Array) => values.map(Math.abs);
  const sums = reference({ ...c, x: abs(c.x), w: abs(c.w), dy: abs(c.dy) }, 0);
  return sums.map((values, i) => ({ sum: values.reduce((a, b) => Math.max(a, b), 1), terms: [c.k, c.n, c.m][i] }));
}

const cached = new Map<Case, { fp32: Float32Array[]; bf16: Float32Array[]; sizes: ReturnType<typeof sizesOf> }>();
function expectedOf(c: Case) {
  if (!cached.has(c)) cached.set(c, { fp32: reference(c, 0), bf16: reference(c, 1), sizes: sizesOf(c) });
  return cached.get(c)!;
}
const summing = ({ sum, terms }: { sum: number; terms: number }) => 2 * Math.sqrt(terms + 1) * 2 ** -24 * sum;

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, overwriting and accumulating", async (c) => {
    const { fp32, sizes } = expectedOf(c);
    const overwritten = await run(await backend.get(), c, false);
    const added = await run(await backend.get(), c, true);
    for (const [i, what] of names.entries()) {
      const start = [null, c.x, c.w][i];
      const abs = summing(sizes[i]);
      expectClose(overwritten[i], fp32[i], { abs }, what);
      const sum = start ? fp32[i].map((value, j) => value + start[j]) : fp32[i];
      expectClose(added[i], sum, { abs: abs + 2 ** -22, rel: 2 ** -23 }, `${what}, added`);
    }
  });

  test("in bfloat16 rounds operands, and nothing else, in every case", async ({ skip }) => {
    const b = await backend.get();
    if (!b.supports.bf16) skip(`${b.name} ${b.isa} has no bfloat16 products`);
    for (const c of cases) {
      const { fp32, bf16, sizes } = expectedOf(c);
      for (const add of [false, true]) {
        const actual = await run(b, c, add, "bf16");
        for (const [i, what] of names.entries()) {
          const start = add ? [null, c.x, c.w][i] : null;
          const plus = (values: Float32Array) => (start ? values.map((v, j) => v + start[j]) : values);
          const abs = summing(sizes[i]) + 2 ** -22;
          expectClose(actual[i], plus(bf16[i]), { abs, rel: 2 ** -23 }, `${c.name}: ${what} against rounded operands`);
          // Each operand is off by 2^-8 of itself at most, so each product by 2^-7 and a little.
          const loose = { abs: 2 ** -7 * 1.01 * sizes[i].sum };
          expectClose(actual[i], plus(fp32[i]), loose, `${c.name}: ${what} against float32`);
        }
      }
    }
  });

  test("gives the same bits again, and with any number of threads", async () => {
    const c = cases.find(({ m }) => m > 96)!;
    const first = await run(await backend.get(), c, false);
    expect(await run(await backend.get(), c, false)).toEqual(first);
    const single = await createBackend({ ...backend.choice, threads: 1 });
    expect(await run(single, c, false)).toEqual(first);
    single.close();
  });

  test("refuses bfloat16 where the backend has none, and never computes something else instead", async ({ skip }) => {
    const b = await backend.get();
    if (b.supports.bf16) skip(`${b.name} ${b.isa} has bfloat16 products`);
    await expect(run(b, cases[0], false, "bf16")).rejects.toThrow(/matmul: precision bf16 is not supported by the/);
  });

  test("leaves x's leading axes on y", async () => {
    const b = await backend.get();
    const x = place(b, [2, 3, 4], "f32", normals(24, 1));
    const w = place(b, [5, 4], "f32", normals(20, 2));
    expect(runOp(b, matmul, [x, w], {}).outputs[0].shape).toEqual([2, 3, 5]);
  });
});

test("the gradients agree with a finite difference", async () => {
  await checkGradients(matmul, {}, [
    { shape: [2, 3, 5], data: normals(30, 1) },
    { shape: [4, 5], data: normals(20, 2) },
  ]);
});

test("refuses weights of another width, naming both shapes", () => {
  const backend = createReferenceBackend();
  const [x, w] = [place(backend, [2, 4], "f32", normals(8, 1)), place(backend, [4, 3], "f32", normals(12, 2))];
  expect(() => runOp(backend, matmul, [x, w], {})).toThrow("matmul: x is [2,4], w is [4,3]; expected w [N, 4]");
});
