// Oracle: torch.optim.Muon's own code run in float64, and its bfloat16 as it is, and Newton-Schulz in NumPy's float64, through
// fixtures.json; reference.ts on every backend for ragged sizes. Bound: the iteration's slope at zero is 3.4445, so that
// five float32 iterations can make 3.4445^5 = 485 ulp of an error of one; steps are lr times that.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import type { Backend, DType, NDArray } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { OpContext } from "../op.ts";
import { cases } from "./cases.ts";
import { type MuonSettings, muonStep, orthogonalize, stepFactor } from "./index.ts";

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: (shape: readonly number[], dtype: DType) =>
    place(backend, shape, dtype, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(Number.NaN)),
});

const ulp = 2 ** -23;
type Rows = number[][];
const matrix = (backend: Backend, rows: Rows) => place(backend, [rows.length, rows[0].length], "f32", rows.flat());

async function run(backend: Backend, c: (typeof cases)[number]) {
  const put = (data: Float32Array) => place(backend, [c.rows, c.columns], "f32", data);
  const arrays = { weight: put(c.weight), gradient: put(c.gradient), momentum: put(c.momentum) };
  const settings: MuonSettings = {
    learningRate: 0.02,
    momentum: c.mu,
    nesterov: c.nesterov,
    iterations: 5,
    scale: "spectral",
    weightDecay: 0.1,
    gradientScale: c.gradientScale,
    cautious: c.cautious,
  };
  muonStep(contextOf(backend), arrays, settings);
  const read = (array: NDArray) => fetchArray(backend, array);
  return { weight: await read(arrays.weight), momentum: await read(arrays.momentum) };
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name", async (c) => {
    const expected = await run(createReferenceBackend(), c);
    const actual = await run(await backend.get(), c);
    expectClose(actual.momentum, expected.momentum, { rel: ulp, abs: 4 * ulp }, "momentum");
    const rate = 0.02 * stepFactor("spectral", [c.rows, c.columns]);
    expectClose(actual.weight, expected.weight, { rel: ulp, abs: rate * 485 * 2 * ulp }, "weight");
  });

  test("iterates as NumPy does, and steps as torch.optim.Muon does, whichever side is longer", async () => {
    const device = await backend.get();
    const cx = contextOf(device);
    for (const [name, c] of Object.entries(readFixtures("muon")) as [string, Record<string, never>][]) {
      const {
        p0,
        grads,
        expect: wanted,
        lr,
        weight_decay: weightDecay,
        momentum: mu,
        ...rest
      } = c as never as {
        [key: string]: never;
      } & {
        p0: Rows;
        grads: Rows[];
        lr: number;
        weight_decay: number;
        momentum: number;
        expect: Record<string, never>;
      };
      const { nesterov, iterations, scale } = rest as never as MuonSettings;
      const amplified = 2 * ulp * 3.4445 ** iterations;

      const [first] = grads;
      const norm = Math.sqrt(first.flat().reduce((sum, x) => sum + x * x, 0));
      const x = matrix(
        device,
        first.map((row) => row.map((value) => value / norm)),
      );
      const flat = (value: unknown) => (value as Rows).flat();
      expectClose(
        await fetchArray(device, orthogonalize(cx, x, iterations)),
        flat(wanted.orthogonalized),
        { abs: amplified },
        `${name}: orthogonalized`,
      );

      const weight = matrix(device, p0);
      const momentum = place(device, weight.shape, "f32", new Float32Array(flat(p0).length));
      const length = lr * stepFactor(scale, weight.shape);
      for (const [i, gradient] of grads.entries()) {
        const settings = { learningRate: lr, momentum: mu, nesterov, iterations, scale, weightDecay, gradientScale: 1 };
        muonStep(cx, { weight, gradient: matrix(device, gradient), momentum }, settings);
        const now = await fetchArray(device, weight);
        const bound = { rel: 4 * ulp, abs: (i + 1) * length * amplified };
        expectClose(now, flat((wanted.p_after as Rows[])[i]), bound, `${name}: step ${i + 1}`);
        // bfloat16 has 8 bits: PyTorch's own steps are off by as much.
        const loose = { abs: (i + 1) * length * 0.1 };
        expectClose(now, flat((wanted.bfloat16_p_after as Rows[])[i]), loose, `${name}: PyTorch's step ${i + 1}`);
      }
    }
  });

  test("a gradient of any scale gives the same step, and one of zeros none", async () => {
    const device = await backend.get();
    const c = { ...cases[1], momentum: new Float32Array(5 * 37) };
    const [one, thousand] = [await run(device, c), await run(device, { ...c, gradientScale: 1024 })];
    expectClose(thousand.weight, one.weight, { rel: ulp }, "weight");
    const still = await run(device, { ...c, gradient: new Float32Array(5 * 37) });
    expectClose(
      still.weight,
      c.weight.map((w) => w * (1 - 0.02 * 0.1)),
      { rel: ulp },
      "decayed",
    );
  });
});

test("refuses arrays that are no matrices of one shape, a momentum of 1, and no iterations", () => {
  const backend = createReferenceBackend();
  const zeros = (...shape: number[]) =>
    place(backend, shape, "f32", new Float32Array(shape.reduce((a, b) => a * b, 1)));
  const attempt = (changes: object, settings: object = {}) =>
    muonStep(contextOf(backend), { weight: zeros(2, 3), gradient: zeros(2, 3), momentum: zeros(2, 3), ...changes }, {
      ...{ learningRate: 1, momentum: 0.9, nesterov: true, iterations: 5, scale: "spectral", weightDecay: 0 },
      gradientScale: 1,
      ...settings,
    } as MuonSettings);
  expect(() => attempt({ gradient: zeros(3, 2) })).toThrow(
    "muon: weight is [2,3], gradient is [3,2]; expected matrices of one shape",
  );
  expect(() => attempt({ weight: zeros(6) })).toThrow("expected matrices of one shape");
  expect(() => attempt({}, { momentum: 1 })).toThrow("muon: momentum is 1; expected 0 <= momentum < 1");
  expect(() => attempt({}, { iterations: 0 })).toThrow("muon: iterations is 0; expected 1, 2, 3, ...");
});
