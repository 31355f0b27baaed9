// Oracles: PyTorch's autograd (fixtures.json, in float64, made by fixtures.py); finite differences of the penalties that are
// smooth; reference.ts on every backend. Bounds: sums are float64, so a loss is right to its last float32 bit or so; the
// gradients of the quadratic penalties are three float32 operations; kurtosis' is of float32 z³.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { type PenaltyKind, penaltyKinds, weightKurtosis, weightPenalty } from "./index.ts";

type Rows = number[][];
const torch = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8")) as {
  w: Rows;
  codes: Rows;
  scale: number;
  limit: number;
  target: number;
  expect: Record<PenaltyKind | "kurtosis", { loss: number; dw: Rows }>;
};
const names = [...penaltyKinds, "kurtosis"] as const;

async function run(
  device: Backend,
  name: (typeof names)[number],
  matrix: { shape: readonly number[]; w: ArrayLike<number>; codes: ArrayLike<number>; scale: number },
  { seed = 1, before = null }: { seed?: number; before?: ArrayLike<number> | null } = {},
) {
  const w = place(device, matrix.shape, "f32", matrix.w);
  const options = { outputGradients: [place(device, [1], "f32", [seed])], accumulateInto: [before] };
  const { outputs, gradients } =
    name === "kurtosis"
      ? runOp(device, weightKurtosis, [w], { target: torch.target }, options)
      : runOp(
          device,
          weightPenalty,
          [w, place(device, matrix.shape, "u8", matrix.codes), place(device, [1], "f32", [matrix.scale])],
          { kind: name, limit: torch.limit },
          options,
        );
  return { loss: (await fetchArray(device, outputs[0]))[0], dw: await fetchArray(device, gradients[0]!) };
}

const codesOf = (w: Float32Array, s: number) => w.map((x) => (x / s > 0.5 ? 2 : x / s < -0.5 ? 0 : 1));

forEachBackend((backend) => {
  test.for(names)("%s and its gradient are PyTorch's", async (name) => {
    const matrix = { shape: [5, 7], w: torch.w.flat(), codes: torch.codes.flat(), scale: torch.scale };
    const { loss, dw } = await run(await backend.get(), name, matrix);
    expectClose([loss], [torch.expect[name].loss], { rel: 1e-6 }, "loss");
    expectClose(dw, torch.expect[name].dw.flat(), { rel: 2e-6, abs: 1e-6 }, "dw");
  });

  test.for(cases)("agrees with the reference for $name", async ({ rows, width, w }) => {
    const device = await backend.get();
    const matrix = { shape: [rows, width], w, codes: codesOf(w, 0.75), scale: 0.75 };
    const before = normals(w.length, 12);
    for (const name of names) {
      const wanted = await run(createReferenceBackend(), name, matrix, { seed: -0.3 });
      const actual = await run(device, name, matrix, { seed: -0.3 });
      expectClose([actual.loss], [wanted.loss], { rel: 3e-7, abs: 1e-7 }, `${name}: loss`);
      const bound = name === "kurtosis" ? { rel: 2e-5, abs: 2e-6 } : { rel: 3e-7, abs: 1e-7 };
      expectClose(actual.dw, wanted.dw, bound, `${name}: dw`);
      const added = await run(device, name, matrix, { seed: -0.3, before });
      const sum = wanted.dw.map((value, i) => value + before[i]);
      expectClose(
        added.dw,
        sum,
        name === "kurtosis" ? { rel: 2e-5, abs: 2e-6 } : { rel: 1e-6, abs: 5e-7 },
        `${name}: added`,
      );
    }
  });

  test("a weight that is no number makes the loss none", async () => {
    const device = await backend.get();
    for (const name of names) {
      const matrix = { shape: [1, 3], w: [0.1, Number.NaN, 1], codes: [1, 1, 2], scale: 1 };
      expect((await run(device, name, matrix)).loss).toBeNaN();
    }
  });
});

test("the gradients of proximal, range and kurtosis agree with finite differences", async () => {
  const data = normals(12, 6);
  await checkGradients(weightKurtosis, { target: 1.8 }, [{ shape: [3, 4], data }], { step: 1e-3, abs: 5e-3 });
  for (const kind of ["proximal", "range"] as const)
    await checkGradients({ ...weightPenalty, name: kind } as never, { kind, limit: 1.5 } as never, [
      { shape: [3, 4], data },
      { shape: [3, 4], data: codesOf(data, 0.7), differentiable: false, dtype: "u8" as never },
      { shape: [1], data: [0.7], differentiable: false },
    ]);
});

test("refuses codes of another shape, a limit that is not above 0, and a single weight", () => {
  const device = createReferenceBackend();
  const w = place(device, [1, 2], "f32", [1, 2]);
  const [codes, wrong] = [place(device, [1, 2], "u8", [1, 2]), place(device, [2, 1], "u8", [1, 2])];
  const scale = place(device, [1], "f32", [1]);
  expect(() => runOp(device, weightPenalty, [w, wrong, scale], { kind: "l1" })).toThrow(/expected f32, u8 codes/);
  expect(() => runOp(device, weightPenalty, [w, codes, scale], { kind: "range", limit: 0 })).toThrow(/limit is 0/);
  expect(() => runOp(device, weightKurtosis, [place(device, [1, 1], "f32", [1])], { target: 1 })).toThrow(
    /of at least two weights/,
  );
});
