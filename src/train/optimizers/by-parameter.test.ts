// Oracle: SGD's formula by hand for what a multiplier and a clip do; torch.optim.Muon's values, through ops/muon/fixtures.json,
// for Muon as an optimizer, and AdamW's own step for the parameters beside it.
import { expect, test } from "vitest";
import { z } from "zod";
import { expectClose } from "../../../test/support/expect-close.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { Parameter, type ParameterRole, Runtime, Tensor } from "../../tensor/index.ts";
import {
  createAdamW,
  createMuon,
  createOptimizer,
  createSgd,
  type Multiplier,
  type OptimizerChoice,
  optimizerKeys,
  optimizerKinds,
  optimizerStateBytes,
} from "../optimizers.ts";

type Role = Exclude<ParameterRole, "quantizer" | "objective">;
const shapes: Record<Role, readonly number[]> = {
  embedding: [6, 4],
  head: [6, 4],
  norm: [4],
  ternary: [8, 4],
  linear: [4, 8],
};
const roles = Object.keys(shapes) as Role[];

/** One parameter of each role, of ones, and how to give them gradients. */
function setUp() {
  const runtime = new Runtime(createReferenceBackend());
  const parameters = roles.map((role) => {
    const shape = shapes[role];
    const size = shape.reduce((a, b) => a * b, 1);
    const { storage } = runtime.upload(shape, "f32", new Float32Array(size).fill(1));
    return new Parameter(`model.the.${role}.weight`, role, new Tensor(shape, "f32", storage, true));
  });
  const setGradients = (values: (parameter: Parameter) => Float32Array) => {
    for (const parameter of parameters) {
      runtime.backend.upload(parameter.gradient.buffer, values(parameter));
      parameter.hasGradient = true;
    }
  };
  const all = (value: number) => setGradients(({ size }) => new Float32Array(size).fill(value));
  const weights = async () =>
    Object.fromEntries(
      await Promise.all(parameters.map(async ({ role, tensor }) => [role, (await runtime.readFloats(tensor))[0]])),
    );
  return { runtime, parameters, setGradients, all, weights };
}

test("multipliers are of names or roles, the last to name a value wins, and decay is multiplied apart", async () => {
  const { runtime, parameters, all, weights } = setUp();
  const multipliers: Multiplier[] = [
    { parameters: "*", learningRate: 0.5 },
    { parameters: "the.ternary", weightDecay: 3 },
    { parameters: "role:norm", learningRate: 2 },
    { parameters: "role:head", learningRate: 0 },
  ];
  const optimizer = createSgd(runtime, parameters, { weightDecay: 0.25, multipliers });
  all(1);
  optimizer.step({ learningRate: 0.5 });
  // w = 1 - rate · decay · 1 - rate · 1
  expect(await weights()).toEqual({
    embedding: 0.75,
    head: 1,
    norm: 0,
    ternary: 1 - 0.25 * 0.75 - 0.25,
    linear: 1 - 0.25 * 0.25 - 0.25,
  });
  all(1);
  optimizer.step({ learningRate: 0.5, learningRateScaleOf: ({ role }) => (role === "norm" ? 0.5 : 1) });
  expect((await weights()).norm).toBe(-0.5);
});

test("a multiplier that names nothing is refused, and so is a decay of what never decays", () => {
  const { runtime, parameters } = setUp();
  const attempt = (...multipliers: Multiplier[]) => createAdamW(runtime, parameters, { multipliers });
  expect(() => attempt({ parameters: "*", learningRate: 1 }, { parameters: "embed_tokns", learningRate: 2 })).toThrow(
    'optimizer.multipliers[1]: "embed_tokns" names nothing; names are such as model.the.embedding.weight',
  );
  expect(() => attempt({ parameters: "role:hed", learningRate: 2 })).toThrow(
    'optimizer.multipliers[0]: no parameter has the role "hed"; roles of this model are embedding, head, norm, ternary, linear',
  );
  expect(() => attempt({ parameters: "the.norm", weightDecay: 2 })).toThrow(
    'optimizer.multipliers[0]: "the.norm" names parameters without weight decay',
  );
  expect(() => attempt({ parameters: "the.norm", learningRate: 2, weightDecay: 0 })).not.toThrow();
});

test("an optimizer that does not apply them is refused by name", () => {
  const { runtime, parameters } = setUp();
  optimizerKinds.register({
    kind: "one-rate",
    stateLabel: "nothing",
    schema: z.strictObject({ kind: z.literal("one-rate"), ...optimizerKeys }),
    defaults: {},
    create: () => ({ kind: "one-rate", updates: 0, step() {}, skip() {}, state: [], dispose() {} }),
    stateBytes: () => 0,
  });
  const attempt = (changes: object) =>
    createOptimizer(runtime, parameters, { kind: "one-rate", ...changes } as unknown as OptimizerChoice);
  expect(() => attempt({ latentClip: null, multipliers: [] })).not.toThrow();
  expect(() => attempt({ latentClip: 2 })).toThrow('optimizer.latentClip: optimizer "one-rate" does not apply it');
  expect(() => attempt({ multipliers: [{ parameters: "*", learningRate: 2 }] })).toThrow(
    'optimizer.multipliers: optimizer "one-rate" does not apply it',
  );
});

test("the latent clip reaches ternary layers alone, after the update", async () => {
  const { runtime, parameters, setGradients } = setUp();
  const optimizer = createSgd(runtime, parameters, { latentClip: 2 });
  setGradients(({ size }) => new Float32Array(size).map((_, i) => (i === 0 ? -63 : 0)));
  optimizer.step({ learningRate: 1 });
  for (const { role, size, tensor } of parameters) {
    const [first] = await runtime.readFloats(tensor);
    // mean|w| = (64 + (size - 1) · 1) / size
    expect(first).toBe(role === "ternary" ? Math.fround((2 * (63 + size)) / size) : 64);
  }
});

test("cautious decay spares what an update moves away from zero, for every optimizer that has it", async () => {
  for (const kind of ["sgd", "adamw", "adamw8bit", "muon"] as const) {
    const moved = await Promise.all(
      [0, 0.5].flatMap((weightDecay) =>
        [1, -1].map(async (sign) => {
          const { runtime, parameters, all, weights } = setUp();
          const optimizer = createOptimizer(runtime, parameters, { kind, weightDecay, cautious: true });
          all(sign);
          optimizer.step({ learningRate: 0.125 });
          return (await weights()).ternary;
        }),
      ),
    );
    const [towards, away, towardsDecayed, awayDecayed] = moved;
    expect(towardsDecayed, kind).toBeCloseTo(towards - 0.0625, 6);
    expect(awayDecayed, kind).toBe(away);
  }
});

test("Muon moves the matrices of the blocks as PyTorch does, and the rest as AdamW", async () => {
  for (const [name, c] of Object.entries(readFixtures("muon")) as [string, Record<string, never>][]) {
    const {
      p0,
      grads,
      lr,
      momentum,
      nesterov,
      iterations,
      scale,
      expect: wanted,
    } = c as never as {
      p0: number[][];
      grads: number[][][];
      lr: number;
      momentum: number;
      nesterov: boolean;
      iterations: number;
      scale: "adamw" | "spectral";
      expect: { p_after: number[][][] };
    };
    const runtime = new Runtime(createReferenceBackend());
    const make = (parameter: string, role: ParameterRole) => {
      const shape = [p0.length, p0[0].length];
      const { storage } = runtime.upload(shape, "f32", Float32Array.from(p0.flat()));
      return new Parameter(parameter, role, new Tensor(shape, "f32", storage, true));
    };
    const parameters = [make("block", "ternary"), make("embedding", "embedding")];
    const reference = make("embedding", "embedding");
    const optimizer = createMuon(runtime, parameters, {
      ...{ learningRate: lr, weightDecay: c.weight_decay, momentum, nesterov, iterations, scale },
      adamw: { learningRate: 10 * lr },
    });
    const adamw = createAdamW(runtime, [reference]);
    for (const gradient of grads) {
      for (const parameter of [...parameters, reference]) {
        runtime.backend.upload(parameter.gradient.buffer, Float32Array.from(gradient.flat()));
        parameter.hasGradient = true;
      }
      optimizer.step({ learningRate: lr });
      adamw.step({ learningRate: 10 * lr });
    }
    const after = await runtime.readFloats(parameters[0].tensor);
    expectClose(after, wanted.p_after.at(-1)!.flat(), { abs: 1e-6 }, name);
    const beside = await runtime.readFloats(parameters[1].tensor);
    expectClose(beside, await runtime.readFloats(reference.tensor), { rel: 2 ** -22, abs: 1e-7 }, `${name}: embedding`);
  }
});

test("Muon's decay of embeddings is their own, in proportion to the schedule's", async () => {
  const after = async (scheduled: number) => {
    const { runtime, parameters, all, weights } = setUp();
    const adamw = { weightDecay: 0.5, learningRate: 0.25 };
    const settings = { learningRate: 0.5, weightDecay: 0.25, decayEmbeddings: true, adamw };
    const optimizer = createMuon(runtime, parameters, settings);
    all(0);
    optimizer.step({ learningRate: 0.5, weightDecay: scheduled });
    return weights();
  };
  expect(await after(0.25)).toEqual({ embedding: 0.875, head: 0.875, norm: 1, ternary: 0.875, linear: 0.875 });
  expect(await after(0)).toEqual({ embedding: 1, head: 1, norm: 1, ternary: 1, linear: 1 });
  const { runtime, parameters } = setUp();
  expect(() => createMuon(runtime, parameters, { adamw: { weightDecay: 0.5 } })).toThrow(
    /optimizer.adamw.weightDecay is 0.5, but embedding and head do not decay; set optimizer.decayEmbeddings/,
  );
  expect(() => createMuon(runtime, parameters, { adamw: { learningRate: 0.5 } })).toThrow(
    /optimizer.adamw.learningRate is 0.5, but optimizer.learningRate, which the schedule scales, is undefined/,
  );
});

test("Muon's state is a momentum of block matrices and moments of the rest, and takes the bytes that it is said to take", async () => {
  const { runtime, parameters, setGradients } = setUp();
  const before = runtime.backend.stats.liveBytes;
  const optimizer = createOptimizer(runtime, parameters, { kind: "muon" });
  expect(optimizer.state.map(({ name }) => name)).toEqual([
    ...["ternary", "linear"].map((role) => `momentum.model.the.${role}.weight`),
    ...["m", "v"].flatMap((moment) =>
      ["embedding", "head", "norm"].map((role) => `${moment}.model.the.${role}.weight`),
    ),
  ]);
  const said = parameters.reduce(
    (sum, { role, size }) => sum + optimizerStateBytes({ kind: "muon" }, { role, count: size }),
    0,
  );
  expect(runtime.backend.stats.liveBytes - before).toBe(said);
  // A step's scratch is given back.
  setGradients(({ size }) => normals(size, size));
  const live = runtime.backend.stats.liveBytes;
  optimizer.step({ learningRate: 1 });
  expect(runtime.backend.stats.liveBytes).toBe(live);
});

test("Muon leaves what an objective trains to AdamW, and it decays", async () => {
  const { runtime } = setUp();
  const make = (role: ParameterRole) => {
    const { storage } = runtime.upload([4, 8], "f32", new Float32Array(32).fill(1));
    const parameter = new Parameter("distillation.projection.weight", role, new Tensor([4, 8], "f32", storage, true));
    runtime.backend.upload(parameter.gradient.buffer, new Float32Array(32));
    parameter.hasGradient = true;
    return parameter;
  };
  const projection = make("objective");
  const optimizer = createOptimizer(runtime, [projection], { kind: "muon", learningRate: 0.1, weightDecay: 0.5 });
  expect(optimizer.state.map(({ name }) => name)).toEqual([`m.${projection.name}`, `v.${projection.name}`]);
  await optimizer.step({ learningRate: 0.1, weightDecay: 0.5, gradientScale: 1 });
  expect((await runtime.readFloats(projection.tensor))[0]).toBeCloseTo(0.95, 6);
});
