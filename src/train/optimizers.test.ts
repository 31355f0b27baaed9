// Oracle: the update formulas worked out by hand for one number (the kernels themselves are held to PyTorch's values in
// test/parity), and the rule of which roles decay.
import { expect, test } from "vitest";
import { createReferenceBackend } from "../backends/index.ts";
import { fill } from "../ops/fill/index.ts";
import { Parameter, type ParameterRole, Runtime, Tensor } from "../tensor/index.ts";
import { clipScale, createAdamW, createSgd, gradientSquares } from "./optimizers.ts";

const roles: ParameterRole[] = ["embedding", "head", "norm", "ternary", "linear"];

/** One parameter of each role, two values of 1 each. */
function setUp() {
  const runtime = new Runtime(createReferenceBackend());
  const parameters = roles.map((role) => {
    const { shape, storage } = runtime.upload([2], "f32", new Float32Array([1, 1]));
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

test("the gradient's norm is over all parameters, and clipping scales it to the limit", async () => {
  const { runtime, parameters, setGradients, weights } = setUp();
  const optimizer = createSgd(runtime, parameters);
  setGradients(2);
  const norm = await optimizer.gradientNorm();
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
  expect(await createSgd(runtime, parameters).gradientNorm()).toBeNaN();
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
  await optimizer.gradientNorm();
  optimizer.step({ learningRate: 1 });
  optimizer.dispose();
  for (const parameter of parameters) parameter.dispose();
  expect(runtime.backend.stats.liveBytes).toBe(0);
});
