// Oracle: the update formulas worked out by hand for one number (the kernels themselves are held to PyTorch's values in
// test/parity), and the rule of which roles decay.
import { expect, test } from "vitest";
import { normals } from "../../test/support/random.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { fill } from "../ops/fill/index.ts";
import { Parameter, type ParameterRole, Runtime, Tensor } from "../tensor/index.ts";
import {
  clipScale,
  createAdamW,
  createAdamW8bit,
  createOptimizer,
  createSgd,
  gradientNorm,
  gradientSquares,
  optimizerStateBytes,
} from "./optimizers.ts";

const roles: ParameterRole[] = ["embedding", "head", "norm", "ternary", "linear"];

/** One parameter of each role, `size` values of 1 each. */
function setUp(size = 2) {
  const runtime = new Runtime(createReferenceBackend());
  const parameters = roles.map((role) => {
    const { shape, storage } = runtime.upload([size], "f32", new Float32Array(size).fill(1));
    return new Parameter(`the.${role}`, role, new Tensor(shape, "f32", storage, true));
  });
  const setGradients = (value: number) => {
    for (const parameter of parameters) {
      fill(runtime.plainContext(), parameter.gradient, value);
      parameter.hasGradient = true;
    }
  };
  const weights = async () => {
    const found: Record<string, number> = {};
    for (const { role, tensor } of parameters) found[role] = (await runtime.readFloats(tensor))[0];
    return found;
  };
  return { runtime, parameters, setGradients, weights };
}

test("decay reaches block matrices only, and embeddings and head on request; norms never", async () => {
  for (const decayEmbeddings of [false, true]) {
    const { runtime, parameters, setGradients, weights } = setUp();
    const optimizer = createSgd(runtime, parameters, { weightDecay: 0.5, decayEmbeddings });
    setGradients(0);
    optimizer.step({ learningRate: 0.5 });
    const other = decayEmbeddings ? 0.75 : 1;
    expect(await weights()).toEqual({ embedding: other, head: other, norm: 1, ternary: 0.75, linear: 0.75 });
  }
});

test("weight decay given with the step stands over the optimiser's own", async () => {
  const { runtime, parameters, setGradients, weights } = setUp();
  const optimizer = createSgd(runtime, parameters, { weightDecay: 0.5 });
  setGradients(0);
  optimizer.step({ learningRate: 0.5, weightDecay: 0 });
  expect((await weights()).ternary).toBe(1);
});

test("AdamW's first step moves each weight by the learning rate against its gradient's sign", async () => {
  const { runtime, parameters, setGradients, weights } = setUp();
  const optimizer = createAdamW(runtime, parameters);
  setGradients(-3);
  optimizer.step({ learningRate: 0.25 });
  expect((await weights()).norm).toBeCloseTo(1.25, 6);
  expect(optimizer.updates).toBe(1);
  expect(parameters.every((parameter) => !parameter.hasGradient && parameter.version === 1)).toBe(true);
});

test("state is named by parameter", () => {
  const { runtime, parameters } = setUp();
  expect(createAdamW(runtime, parameters).state.map(({ name }) => name)).toEqual([
    ...roles.map((role) => `m.the.${role}`),
    ...roles.map((role) => `v.the.${role}`),
  ]);
  expect(createSgd(runtime, parameters, { momentum: 0.9 }).state[3].name).toBe("momentum.the.ternary");
  expect(createSgd(runtime, parameters).state).toEqual([]);
});

/** Large enough for moments of eight bits, where the role allows. */
const large = 4096 + 300;

test("moments of eight bits: of matrices from 4096 values on, and never of an embedding or a norm", () => {
  const { runtime, parameters } = setUp(large);
  const small = setUp(4095);
  const optimizer = createAdamW8bit(runtime, parameters);
  const dtypes = Object.fromEntries(
    optimizer.state.map(({ name, tensor }) => [name, `${tensor.dtype} ${tensor.shape}`]),
  );
  const expected: Record<string, string> = {};
  for (const role of roles)
    for (const moment of ["m", "v"]) {
      const eight = role !== "embedding" && role !== "norm";
      expected[`${moment}.the.${role}`] = eight ? "u8 4396" : "f32 4396";
      if (eight) expected[`${moment}_scale.the.${role}`] = "f32 18";
    }
  expect(dtypes).toEqual(expected);
  const { state } = createAdamW8bit(small.runtime, small.parameters);
  expect(state.map(({ tensor }) => tensor.dtype)).toEqual(Array(10).fill("f32"));
});

test("an optimiser's state takes the bytes that it is said to take", () => {
  for (const config of [
    { kind: "adamw" },
    { kind: "adamw8bit" },
    { kind: "sgd", momentum: 0.9 },
    { kind: "sgd" },
  ] as const)
    for (const size of [2, 4095, 4096, large]) {
      const { runtime, parameters } = setUp(size);
      const before = runtime.backend.stats.liveBytes;
      createOptimizer(runtime, parameters, config);
      const said = parameters.reduce((sum, { role }) => sum + optimizerStateBytes(config, { role, count: size }), 0);
      expect(runtime.backend.stats.liveBytes - before).toBe(said);
    }
});

test("moments of eight bits go the way of those of 32, near enough, and leave small parameters to them", async () => {
  const paths = await Promise.all(
    [createAdamW, createAdamW8bit].map(async (create) => {
      const { runtime, parameters } = setUp(large);
      const optimizer = create(runtime, parameters, { weightDecay: 0.1 });
      for (let step = 0; step < 20; step++) {
        for (const [i, parameter] of parameters.entries()) {
          runtime.backend.upload(parameter.gradient.buffer, normals(large, 100 * step + i));
          parameter.hasGradient = true;
        }
        optimizer.step({ learningRate: 1e-3 });
      }
      const weights = await Promise.all(parameters.map(({ tensor }) => runtime.readFloats(tensor)));
      optimizer.dispose();
      for (const parameter of parameters) parameter.dispose();
      expect(runtime.backend.stats.liveBytes).toBe(0);
      return weights;
    }),
  );
  for (const [i, role] of roles.entries()) {
    const [exact, coded] = paths.map((weights) => weights[i]);
    const moved = Math.sqrt(exact.reduce((sum, x) => sum + (x - 1) ** 2, 0));
    const apart = Math.sqrt(exact.reduce((sum, x, k) => sum + (x - coded[k]) ** 2, 0));
    if (role === "embedding" || role === "norm") expect(apart).toBe(0);
    else expect(apart / moved).toBeLessThan(0.03);
    if (role === "ternary") expect(apart).toBeGreaterThan(0);
  }
});

test("the gradient's norm is over all parameters, and clipping scales it to the limit", async () => {
  const { runtime, parameters, setGradients, weights } = setUp();
  const optimizer = createSgd(runtime, parameters);
  setGradients(2);
  const norm = await gradientNorm(runtime, parameters);
  expect(norm).toBeCloseTo(Math.sqrt(10 * 4), 5);
  expect(clipScale(norm, null)).toBe(1);
  expect(clipScale(0.5, 1)).toBe(1);
  const gradientScale = clipScale(norm, 1);
  expect(gradientScale * norm).toBeCloseTo(1, 6);
  optimizer.step({ learningRate: 1, gradientScale });
  expect((await weights()).norm).toBeCloseTo(1 - 2 * gradientScale, 6);
});

test("a gradient that is not finite shows in the norm and in its own parameter's sum", async () => {
  const { runtime, parameters, setGradients } = setUp();
  setGradients(1);
  fill(runtime.plainContext(), parameters[2].gradient, Number.NaN);
  expect(await gradientNorm(runtime, parameters)).toBeNaN();
  expect([...(await gradientSquares(runtime, parameters))].map(Number.isNaN)).toEqual([
    false,
    false,
    true,
    false,
    false,
  ]);
});

test("a parameter without a gradient stays as it is; a skipped step changes nothing", async () => {
  const { runtime, parameters, setGradients, weights } = setUp();
  const optimizer = createAdamW(runtime, parameters, { weightDecay: 0.5 });
  setGradients(1);
  parameters[3].clearGradient();
  optimizer.step({ learningRate: 0.5 });
  expect((await weights()).ternary).toBe(1);
  setGradients(1);
  optimizer.skip();
  expect(parameters.some((parameter) => parameter.hasGradient)).toBe(false);
  expect(optimizer.updates).toBe(1);
});

test("optimiser and parameters give all their memory back", async () => {
  const { runtime, parameters, setGradients } = setUp();
  const optimizer = createAdamW(runtime, parameters);
  setGradients(1);
  await gradientNorm(runtime, parameters);
  optimizer.step({ learningRate: 1 });
  optimizer.dispose();
  for (const parameter of parameters) parameter.dispose();
  expect(runtime.backend.stats.liveBytes).toBe(0);
});
