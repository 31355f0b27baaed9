// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch's autograd (fixtures.json, in float64, made by
// fixtures.py) and to a finite difference. Bounds: exponentials and their sums to 2e-6 relative as in cross-entropy; a
// divergence is a sum of terms of either sign, off by 1e-6 of their size, which a logit of 30 and t² scale.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { integers, normals } from "../../../test/support/random.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { createRandom } from "../../platform/random.ts";
import { type Case, cases } from "./cases.ts";
import { type DistillationParams, distillation, directions, sampledDistillation, sampleTokens } from "./index.ts";

const settings: DistillationParams[] = [
  { temperature: 1, direction: "forward", tokenTemperature: null },
  { temperature: 2, direction: "reverse", tokenTemperature: null },
  { temperature: 1.5, direction: "mixture", tokenTemperature: 0.5 },
];
const values = (backend: Backend, arrays: readonly NDArray[]) => Promise.all(arrays.map((a) => fetchArray(backend, a)));

async function dense(backend: Backend, c: Case, params: DistillationParams, exclusive = true) {
  const shape = [...c.lead, c.classes];
  const teacher = place(backend, shape, "f32", c.teacher);
  const inputs = [place(backend, shape, "f32", c.student), place(backend, c.lead, "i32", c.targets), teacher];
  const { outputs, gradients } = runOp(backend, distillation, inputs, params, {
    outputGradients: [place(backend, [1], "f32", [0.75])],
    exclusive,
  });
  if (exclusive) expect(gradients[0]).toBe(teacher);
  else expect([...(await fetchArray(backend, teacher))]).toEqual([...c.teacher]);
  return values(backend, [outputs[0], gradients[0]!]);
}

const samples = 12;

async function sampled(backend: Backend, c: Case, tokenTemperature: number | null, into?: Float32Array) {
  const rows = c.lead[0] * c.lead[1];
  const inputs = [
    place(backend, [...c.lead, c.classes], "f32", c.student),
    place(backend, c.lead, "i32", c.targets),
    place(backend, [...c.lead, samples], "i32", integers(rows * samples, 17, c.classes)),
    place(backend, c.lead, "f32", normals(rows, 18)),
    place(backend, c.lead, "f32", normals(rows, 19)),
  ];
  const { outputs, gradients } = runOp(
    backend,
    sampledDistillation,
    inputs,
    { temperature: 2, tokenTemperature },
    {
      outputGradients: [place(backend, [1], "f32", [0.75])],
      wanted: [true, false, false, false, false],
      accumulateInto: into && [into],
    },
  );
  return values(backend, [outputs[0], gradients[0]!]);
}

/** Ascending in each row, as the op wants them. */
function uniforms(rows: number, seed: number): Float32Array {
  const random = createRandom(seed);
  const all = new Float32Array(rows * samples);
  for (let m = 0; m < rows; m++)
    all.set(
      Float32Array.from({ length: samples }, () => Math.fround(random.uniform() * (1 - 2 ** -24))).sort(),
      m * samples,
    );
  return all;
}

async function draw(backend: Backend, c: Case, temperature = 2, numbers = uniforms(c.lead[0] * c.lead[1], 23)) {
  const a = {
    teacher: place(backend, [...c.lead, c.classes], "f32", c.teacher),
    targets: place(backend, c.lead, "i32", c.targets),
    uniforms: place(backend, [...c.lead, samples], "f32", numbers),
    ids: place(backend, [...c.lead, samples], "i32", new Int32Array(numbers.length).fill(-1)),
    entropy: place(backend, c.lead, "f32", new Float32Array(c.targets.length).fill(Number.NaN)),
    targetLoss: place(backend, c.lead, "f32", new Float32Array(c.targets.length).fill(Number.NaN)),
  };
  const cx = {
    backend,
    precision: "fp32" as const,
    create: () => {
      throw new Error("makes nothing");
    },
  };
  sampleTokens(cx, a, temperature);
  return values(backend, [a.ids, a.entropy, a.targetLoss]);
}

forEachBackend((backend) => {
  describe.each(settings)("$direction, T $temperature, token weights $tokenTemperature", (params) => {
    test.for(cases)("agrees with the reference for $name", async (c) => {
      for (const exclusive of [true, false]) {
        const [loss, gradient] = await dense(createReferenceBackend(), c, params, exclusive);
        const actual = await dense(await backend.get(), c, params, exclusive);
        expectClose(actual[0], loss, { abs: 4e-6, rel: 4e-6 }, "loss");
        expectClose(actual[1], gradient, { abs: 2e-6, rel: 2e-5 }, "gradient");
      }
    });
  });

  test.for(cases)("the loss against samples agrees with the reference for $name", async (c) => {
    for (const weights of [null, 0.7])
      for (const into of [undefined, normals(c.student.length, 77)]) {
        const [loss, gradient] = await sampled(createReferenceBackend(), c, weights, into);
        const actual = await sampled(await backend.get(), c, weights, into);
        expectClose(actual[0], loss, { abs: 4e-6, rel: 4e-6 }, "loss");
        expectClose(actual[1], gradient, { abs: 2e-6, rel: 4e-6 }, "gradient");
      }
  });

  test.for(cases.filter(({ name }) => name !== "NaN among the logits"))(
    "draws what the cumulative distribution says for $name",
    async (c) => {
      const rows = c.lead[0] * c.lead[1];
      const numbers = uniforms(rows, 23);
      const [ids, entropy, targetLoss] = await draw(await backend.get(), c);
      for (let m = 0; m < rows; m++) {
        const y = c.teacher.subarray(m * c.classes, (m + 1) * c.classes);
        const most = y.reduce((a, b) => Math.max(a, b));
        const e = Float64Array.from(y, (v) => Math.exp((v - most) / 2));
        const total = e.reduce((a, b) => a + b);
        for (let i = 0; i < samples; i++) {
          const id = ids[m * samples + i];
          const below = e.subarray(0, id).reduce((a, b) => a + b, 0) / total;
          const u = numbers[m * samples + i];
          expect(e[id]).toBeGreaterThan(0);
          expect(u).toBeGreaterThanOrEqual(below - 1e-6);
          expect(u).toBeLessThanOrEqual(below + e[id] / total + 1e-6);
        }
      }
      const [, wantedEntropy, wantedLoss] = await draw(createReferenceBackend(), c);
      expectClose(entropy, wantedEntropy, { abs: 2e-6, rel: 2e-6 }, "entropy");
      expectClose(targetLoss, wantedLoss, { abs: 2e-6, rel: 2e-6 }, "target's loss");
    },
  );
});

const fixtures = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
const fixtureCase: Case = {
  name: "fixture",
  lead: [2, 4],
  classes: 11,
  student: Float32Array.from(fixtures.student),
  teacher: Float32Array.from(fixtures.teacher),
  targets: Int32Array.from(fixtures.targets),
};

test("reference: agrees with PyTorch's kl_div, for each direction, temperature and token weight", async () => {
  const backend = createReferenceBackend();
  const shape = [2, 4, 11];
  expect(fixtures.dense.map((f: { direction: string }) => f.direction)).toEqual(
    expect.arrayContaining([...directions]),
  );
  for (const f of fixtures.dense) {
    const inputs = [
      place(backend, shape, "f32", fixtureCase.student),
      place(backend, [2, 4], "i32", fixtureCase.targets),
      place(backend, shape, "f32", fixtureCase.teacher),
    ];
    const params = { temperature: f.temperature, direction: f.direction, tokenTemperature: f.token_temperature };
    const { outputs, gradients } = runOp(backend, distillation, inputs, params, {
      outputGradients: [place(backend, [1], "f32", [1])],
    });
    const label = JSON.stringify(params);
    expectClose(await fetchArray(backend, outputs[0]), [f.loss], { rel: 2e-6 }, `loss ${label}`);
    expectClose(await fetchArray(backend, gradients[0]!), f.gradient, { abs: 2e-6, rel: 2e-6 }, `gradient ${label}`);
  }
});

test("reference: the loss against samples agrees with PyTorch's cross_entropy of soft targets, less the entropy", async () => {
  const backend = createReferenceBackend();
  for (const f of fixtures.sampled) {
    const inputs = [
      place(backend, [2, 4, 11], "f32", fixtureCase.student),
      place(backend, [2, 4], "i32", fixtureCase.targets),
      place(backend, [2, 4, 12], "i32", fixtures.ids),
      place(backend, [2, 4], "f32", fixtures.entropy[f.temperature.toFixed(1)]),
      place(backend, [2, 4], "f32", fixtures.target_loss),
    ];
    const { outputs, gradients } = runOp(
      backend,
      sampledDistillation,
      inputs,
      { temperature: f.temperature, tokenTemperature: f.token_temperature },
      { outputGradients: [place(backend, [1], "f32", [1])], wanted: [true, false, false, false, false] },
    );
    expectClose(await fetchArray(backend, outputs[0]), [f.loss], { rel: 2e-6 }, "loss");
    expectClose(await fetchArray(backend, gradients[0]!), f.gradient, { abs: 2e-6, rel: 2e-6 }, "gradient");
  }
});

test("reference: entropies and losses of the targets are PyTorch's, and samples have the teacher's frequencies", async () => {
  const backend = createReferenceBackend();
  const counts = new Float64Array(8 * 11);
  const rounds = 400;
  for (let round = 0; round < rounds; round++) {
    const [ids, entropy, targetLoss] = await draw(backend, fixtureCase, 2, uniforms(8, 100 + round));
    for (const [i, id] of ids.entries()) counts[Math.floor(i / samples) * 11 + id] += 1 / (rounds * samples);
    if (round > 0) continue;
    expectClose(entropy, fixtures.entropy["2.0"], { abs: 1e-6 }, "entropy");
    expectClose(targetLoss, fixtures.target_loss, { abs: 1e-6 }, "target's loss");
  }
  for (let m = 0; m < 8; m++) {
    const e = fixtureCase.teacher.subarray(m * 11, (m + 1) * 11).map((v) => Math.exp(v / 2));
    const total = e.reduce((a, b) => a + b);
    // Four standard errors of a share of 4800 draws.
    for (let v = 0; v < 11; v++) {
      const p = e[v] / total;
      const error = 4 * Math.sqrt((p * (1 - p)) / (rounds * samples)) + 1e-3;
      expect(Math.abs(counts[m * 11 + v] - p), `row ${m}, class ${v}`).toBeLessThan(error);
    }
  }
});

test("gradients agree with finite differences", async () => {
  const targets = { shape: [1, 5], data: [3, -100, 0, 6, 2], dtype: "i32" as const };
  for (const params of settings)
    await checkGradients(distillation, params, [
      { shape: [1, 5, 7], data: normals(35, 410) },
      targets,
      { shape: [1, 5, 7], data: normals(35, 411), differentiable: false },
    ]);
  await checkGradients(sampledDistillation, { temperature: 2, tokenTemperature: 0.7 }, [
    { shape: [1, 5, 7], data: normals(35, 410) },
    targets,
    { shape: [1, 5, 3], data: integers(15, 9, 7), dtype: "i32" },
    { shape: [1, 5], data: normals(5, 12), differentiable: false },
    { shape: [1, 5], data: normals(5, 13), differentiable: false },
  ]);
});

test("refuses a teacher of another shape, and temperatures that are none, naming them", () => {
  const backend = createReferenceBackend();
  const make = (...shape: number[]) => place(backend, shape, "f32", new Float32Array(shape.reduce((a, b) => a * b, 1)));
  const targets = place(backend, [2, 3], "i32", new Int32Array(6));
  expect(() => runOp(backend, distillation, [make(2, 3, 4), targets, make(2, 3, 5)], settings[0])).toThrow(
    "the student's logits are [2,3,4], the teacher's [2,3,5]; expected one shape",
  );
  const run = (temperature: number) =>
    runOp(backend, distillation, [make(2, 3, 4), targets, make(2, 3, 4)], { ...settings[0], temperature });
  expect(() => run(0)).toThrow("the temperature is 0; expected a number above 0");
});
