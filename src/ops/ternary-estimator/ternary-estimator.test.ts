// Oracles: PyTorch's autograd (fixtures.json, in float64, made by fixtures.py); reference.ts on every backend; the
// straight-through gradient, which soft, ewgs and reste are at one end of their settings. None has a true gradient to check
// by differences. Bounds: trust is a mask, to the bit; the others are a few float32 operations and an exponential, and soft's
// argument, up to 15, has a relative error of its own: 3e-6 of the gradient.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { Op } from "../op.ts";
import { cases } from "./cases.ts";
import { ewgsEstimator, resteEstimator, resteOrder, softEstimator, softSlope, trustEstimator } from "./index.ts";

const torch = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8")) as {
  w: number[];
  scale: number;
  dy: number[];
  cases: { rule: "trust" | "soft" | "ewgs" | "reste"; params: Record<string, number>; dw: number[] }[];
};
// biome-ignore lint/suspicious/noExplicitAny: a table of ops with params of their own.
const ops: Record<string, Op<any>> = {
  trust: trustEstimator,
  soft: softEstimator,
  ewgs: ewgsEstimator,
  reste: resteEstimator,
};
const bound = { rel: 3e-6, abs: 1e-9 };
const scale = 0.8;

function run(
  device: Backend,
  op: Op<unknown>,
  params: unknown,
  { w, dy, s = scale }: { w: ArrayLike<number>; dy: ArrayLike<number>; s?: number },
  shape: readonly number[] = [1, w.length],
  before: ArrayLike<number> | null = null,
) {
  const codes = Array.from(w, (x) => (x / s > 0.5 ? 2 : x / s < -0.5 ? 0 : 1));
  const inputs = [place(device, shape, "f32", w), place(device, shape, "u8", codes), place(device, [1], "f32", [s])];
  const outputGradients = [place(device, shape, "f32", dy)];
  const { outputs, gradients } = runOp(device, op, inputs, params, { outputGradients, accumulateInto: [before] });
  expect(outputs[0]).toBe(inputs[0]);
  return fetchArray(device, gradients[0]!);
}

forEachBackend((backend) => {
  test.for(torch.cases)("$rule $params: the gradient is PyTorch's", async ({ rule, params, dw }) => {
    const device = await backend.get();
    const actual = await run(device, ops[rule], { progress: 0.5, ...params }, { ...torch, s: torch.scale });
    expectClose(actual, Float32Array.from(dw), rule === "trust" ? {} : bound, rule);
  });

  test.for(cases)("agrees with the reference for $name", async ({ op, params, rows, width }) => {
    const device = await backend.get();
    const [w, dy, before] = [7, 8, 9].map((seed) => normals(rows * width, seed));
    const shape = [rows, width];
    const expected = await run(createReferenceBackend(), op, params, { w, dy }, shape);
    const exact = op.name === "trust-estimator";
    expectClose(await run(device, op, params, { w, dy }, shape), expected, exact ? {} : bound, "dw");
    const sum = before.map((b, i) => b + expected[i]);
    const added = await run(device, op, params, { w, dy }, shape, before);
    expectClose(added, sum, exact ? {} : { rel: 3e-6, abs: 3e-6 }, "dw, added");
  });

  test("a weight that is no number gets no gradient from a mask, and NaN from a slope", async () => {
    const device = await backend.get();
    const values = { w: [Number.NaN, 0.1], dy: [1, 1] };
    expect([...(await run(device, trustEstimator, { trust: 0.5, progress: 0 }, values))]).toEqual([0, 1]);
    const soft = await run(device, softEstimator, { from: 0.1, to: 10, threshold: 0.5, progress: 0 }, values);
    expect(soft[0]).toBeNaN();
  });
});

test("the annealed numbers begin near the straight-through estimator and end where the settings say", () => {
  const soft = { from: 0.1, to: 10 };
  expect(softSlope({ ...soft, progress: 0 })).toEqual({ t: 0.1, k: 10 });
  expect(softSlope({ ...soft, progress: 0.5 }).t).toBeCloseTo(1, 12);
  expect(softSlope({ ...soft, progress: 1 })).toEqual({ t: 10, k: 1 });
  expect([0, 0.5, 1].map((progress) => resteOrder({ to: 3, progress }))).toEqual([1, 2, 3]);
});

test("delta 0, o 1 and a trust beyond all weights are the straight-through estimator, to the bit", async () => {
  const [w, dy] = [normals(500, 1), normals(500, 2)];
  const device = createReferenceBackend();
  const settings: [Op<never>, unknown][] = [
    [ewgsEstimator as Op<never>, { delta: 0, progress: 1 }],
    [resteEstimator as Op<never>, { to: 3, limit: 100, center: 0.1, threshold: 0.5, progress: 0 }],
    [trustEstimator as Op<never>, { trust: 100, progress: 0 }],
  ];
  for (const [op, params] of settings)
    expectClose(await run(device, op as Op<unknown>, params, { w, dy }), dy, {}, op.name);
});

test("refuses settings that have no meaning, by the op's and the setting's names, and codes of another shape", () => {
  const device = createReferenceBackend();
  const w = place(device, [1, 2], "f32", [1, 2]);
  const rest = [place(device, [1, 2], "u8", [0, 0]), place(device, [1], "f32", [1])];
  const refused = (op: Op<never>, params: unknown, message: RegExp) =>
    expect(() => runOp(device, op, [w, ...rest], params as never)).toThrow(message);
  refused(trustEstimator as Op<never>, { trust: 0 }, /trust-estimator: trust is 0; expected a number above 0/);
  const soft = { from: 0.1, to: 10, threshold: 0.5, progress: 0 };
  refused(softEstimator as Op<never>, { ...soft, from: 0 }, /from is 0/);
  refused(softEstimator as Op<never>, { ...soft, progress: 2 }, /progress is 2; expected 0 to 1/);
  refused(ewgsEstimator as Op<never>, { delta: -1 }, /delta is -1/);
  const reste = { to: 3, limit: 1.5, center: 0.1, threshold: 0.5, progress: 0 };
  refused(resteEstimator as Op<never>, { ...reste, to: 0.5 }, /to is 0.5; expected a number from 1/);
  refused(resteEstimator as Op<never>, { ...reste, threshold: 1 }, /threshold is 1/);
  refused(resteEstimator as Op<never>, { ...reste, progress: Number.NaN }, /progress is NaN/);
  const codes = place(device, [2, 1], "u8", [0, 0]);
  expect(() => runOp(device, trustEstimator, [w, codes, rest[1]], { trust: 1, progress: 0 })).toThrow(
    /expected f32, u8 codes of w's shape, and one scale/,
  );
});
