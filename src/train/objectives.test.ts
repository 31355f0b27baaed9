// Oracles: the next-token loss alone, to the bit, for what must not change; the definition of a weighted sum of losses (each
// computed alone) for the rest. The ops themselves are held to PyTorch in their folders.
import { expect, test } from "vitest";
import { type SmallRun, smallRun } from "../../test/support/small-run.ts";
import { resolveConfig } from "./config.ts";
import { crossEntropy } from "../ops/cross-entropy/index.ts";
import { DataError } from "../platform/errors.ts";
import type { GradientsEvent, StepEvent } from "./events.ts";
import { createObjectives } from "./objectives.ts";
import { nextTokenObjective } from "./objectives/next-token.ts";
import { type Objective, weightAt } from "./objectives/objective.ts";
import { nextTokenLoss, type WeightedObjective } from "./objectives/weighted.ts";
import { runTraining, type TrainerParts } from "./trainer.ts";

interface Seen {
  steps: StepEvent[];
  gradients: GradientsEvent[];
  run: SmallRun;
}

async function train(changes: Parameters<typeof smallRun>[0]): Promise<Seen> {
  const seen: Omit<Seen, "run"> = { steps: [], gradients: [] };
  const run = smallRun({
    ...changes,
    callbacks: [
      {
        name: "watcher",
        on(event) {
          if (event.type === "step") seen.steps.push(event);
          if (event.type === "gradients") seen.gradients.push(event);
        },
      },
    ],
  });
  await runTraining(run);
  return { ...seen, run };
}

const named = (choices: Parameters<typeof createObjectives>[0], run = smallRun()) =>
  createObjectives(choices, { runtime: run.runtime, model: run.model, steps: run.steps });

test("the next-token loss by name is the run without objectives, to the bit, and logs no parts", async () => {
  const plain = await train({ microBatch: 2 });
  const by = await train({ microBatch: 2, objectives: await named([{ name: "next-token", weight: 1 }]) });
  expect(by.run.losses).toEqual(plain.run.losses);
  expect(by.steps.map(({ gradNorm }) => gradNorm)).toEqual(plain.steps.map(({ gradNorm }) => gradNorm));
  expect(by.steps[0]).not.toHaveProperty("parts");
});

test("two losses: the loss is their weighted sum, the gradient that of the sum, and each is logged", async () => {
  const objectives = await named([
    { name: "next-token", weight: 1 },
    { name: "z-loss", weight: 0.01 },
  ]);
  for (const microBatch of [4, 1]) {
    const [plain, both, alone] = await Promise.all([
      train({ steps: 1, microBatch }),
      train({ steps: 1, microBatch, objectives }),
      train({ steps: 1, microBatch, objectives: objectives.slice(1) }),
    ]);
    const { parts, loss } = both.steps[0];
    expect(Object.keys(parts!)).toEqual(["next-token", "z-loss"]);
    expect(parts!["next-token"]).toBe(plain.steps[0].loss);
    expect(loss).toBeCloseTo(parts!["next-token"] + 0.01 * parts!["z-loss"], 5);
    expect(alone.steps[0].loss).toBeCloseTo(0.01 * parts!["z-loss"], 6);
    // ln² 17, near the start.
    expect(parts!["z-loss"]).toBeCloseTo(Math.log(17) ** 2, 0);
    expect(both.steps[0].gradNorm).not.toBe(plain.steps[0].gradNorm);
  }
});

test("a weight of 0 leaves a loss out of the step, to the bit; a schedule lets it in", async () => {
  const calls: number[] = [];
  const counted: Objective = {
    name: "counted",
    loss(model, batch, forward) {
      calls.push(forward.step);
      return nextTokenObjective.loss(model, batch, forward);
    },
  };
  const objectives: WeightedObjective[] = [
    { objective: nextTokenObjective, weight: 1 },
    { objective: counted, weight: (step) => (step < 4 ? 0 : 0.5) },
  ];
  const [plain, late] = [await train({ steps: 5 }), await train({ steps: 5, objectives })];
  expect(calls).toEqual([4, 5]);
  expect(late.run.losses.slice(0, 3)).toEqual(plain.run.losses.slice(0, 3));
  expect(late.steps[3].loss).toBeCloseTo(1.5 * plain.run.losses[3], 5);
  const none = train({ objectives: [{ objective: counted, weight: () => 0 }] });
  await expect(none).rejects.toThrow("every objective has weight 0 at step 1");
});

test("weights move from one value to another, evenly or as a cosine, and then stay", () => {
  const ramp = { from: 2, to: 0, start: 10, steps: 10 } as const;
  expect([1, 10, 15, 20, 99].map((step) => weightAt(ramp, step))).toEqual([2, 2, 1, 0, 0]);
  expect(weightAt({ ...ramp, shape: "cosine" }, 12.5)).toBeCloseTo(1 + Math.SQRT1_2, 12);
  expect(weightAt(0.5, 7)).toBe(0.5);
});

test("label smoothing logs the plain loss, which perplexity is made of", async () => {
  const objectives = await createObjectives([{ name: "label-smoothing", weight: 1, smoothing: 0.1 } as never], {
    runtime: undefined as never,
    model: undefined as never,
    steps: 1,
  });
  const [plain, smooth] = [await train({ steps: 1 }), await train({ steps: 1, objectives })];
  const { parts, loss } = smooth.steps[0];
  expect(parts).toEqual({ "label-smoothing": loss, "label-smoothing.next-token": plain.steps[0].loss });
  expect(nextTokenLoss(parts!)).toBe(plain.steps[0].loss);
});

test("objectives share one forward pass, and every order of them has the same gradient", async () => {
  const pair = await named([
    { name: "next-token", weight: 1 },
    { name: "z-loss", weight: 0.1 },
  ]);
  const norms: number[] = [];
  for (const objectives of [pair, [...pair].reverse()]) {
    const run = smallRun({ steps: 1, objectives });
    const ops: string[] = [];
    run.runtime.observe(({ op }) => ops.push(op));
    run.callbacks = [{ name: "norm", on: (event) => void (event.type === "step" && norms.push(event.gradNorm)) }];
    await runTraining(run as TrainerParts);
    expect(ops.filter((op) => op === "embedding")).toHaveLength(1);
    expect(ops.filter((op) => op === "cross-entropy" || op === "z-loss")).toHaveLength(2);
  }
  expect(Math.abs(norms[0] / norms[1] - 1)).toBeLessThan(1e-5);
});

test("memory is flat with several losses, and all of it comes back", async () => {
  const live: number[] = [];
  const run = smallRun({
    microBatch: 2,
    objectives: await named([
      { name: "z-loss", weight: 0.1 },
      { name: "next-token", weight: 1 },
    ]),
    callbacks: [
      {
        name: "memory",
        on(event, { runtime }) {
          if (event.type === "step") live.push(runtime.backend.stats.liveBytes);
        },
      },
    ],
  });
  await runTraining(run);
  expect(new Set(live.slice(2)).size).toBe(1);
  run.optimizer.dispose();
  run.model.dispose();
  expect(run.runtime.backend.stats.liveBytes).toBe(0);
});

test("an objective of one's own: only the second half of each sequence counts", async () => {
  const late: Objective = {
    name: "late-half",
    loss(_model, batch, { runtime, logits }) {
      const targets = batch.targets.map((target, i) => (i % batch.length < batch.length / 2 ? -100 : target));
      const ids = runtime.upload([batch.batch, batch.length], "i32", targets);
      return { loss: runtime.applyAll(crossEntropy, [logits(), ids], {})[0] };
    },
  };
  const masking = smallRun({ steps: 3 });
  const next = masking.data.next.bind(masking.data);
  masking.data.next = async () => {
    const batch = await next();
    const { sequence: T } = masking.data;
    return { ...batch, targets_BT: batch.targets_BT.map((t, i) => (i % T < T / 2 ? -100 : t)) };
  };
  await runTraining(masking);
  const own = await train({ steps: 3, objectives: [{ objective: late, weight: 1 }] });
  expect(own.run.losses).toEqual(masking.losses);
  expect(own.steps[0].parts).toEqual({ "late-half": own.run.losses[0] });
});

test("refusals: no objective, two of a name, a loss that is not one number, a target outside the vocabulary", async () => {
  await expect(train({ objectives: [] })).rejects.toThrow("there is no objective");
  const one = { objective: nextTokenObjective, weight: 1 };
  await expect(train({ objectives: [one, one] })).rejects.toThrow('two objectives are named "next-token"');
  const wide: Objective = { name: "wide", loss: (_m, _b, { logits }) => ({ loss: logits() }) };
  await expect(train({ objectives: [{ objective: wide, weight: 1 }] })).rejects.toThrow(
    'objective "wide": its loss is [4,8,17]; expected one number',
  );
  await expect(named([{ name: "z-los", weight: 1 }])).rejects.toThrow(
    'train.objectives[0].name is "z-los"; expected one of next-token, z-loss, label-smoothing, dampening, proximal, kurtosis, range, l1, clip-l2; did you mean "z-loss"?',
  );
  for (const bad of [17, -7]) {
    const run = smallRun();
    run.data.next = () => ({
      tokens_BT: new Int32Array(32),
      targets_BT: new Int32Array(32).fill(bad),
      epoch: 0,
      index: 0,
    });
    const error = await runTraining(run).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toContain(`target ${bad} is outside the vocabulary of 17`);
  }
});

test("penalties on weights: the closed formulas over the ternary layers, by sum or mean; logged; no forward pass of their own", async () => {
  const run = smallRun();
  const layers = await Promise.all(
    run.model.ternaryLayers.map(async (layer) => {
      const w = Array.from(await run.runtime.readFloats(layer.weight.tensor));
      const { codes, scale } = layer.quantized(run.runtime);
      const [s] = await run.runtime.readFloats(scale);
      return { w, q: Array.from(await run.runtime.read(codes), (code) => (code - 1) * s), s };
    }),
  );
  const sum = (term: (w: number, q: number, s: number) => number) =>
    layers.reduce((all, { w, q, s }) => all + w.reduce((own, x, i) => own + term(x, q[i], s), 0), 0);
  const count = sum(() => 1);
  const kurtosis = layers.map(({ w }) => {
    const mean = w.reduce((a, b) => a + b, 0) / w.length;
    const moment = (power: number) => w.reduce((all, x) => all + (x - mean) ** power, 0) / w.length;
    return (moment(4) / moment(2) ** 2 - 1.8) ** 2;
  });
  const wanted: Record<string, number> = {
    dampening: sum((w, q, s) => (q - Math.max(-s, Math.min(s, w))) ** 2),
    proximal: sum((w, q) => (w - q) ** 2) / 2,
    range: sum((w, _q, s) => Math.max(Math.abs(w) - 1.5 * s, 0) ** 2),
    l1: sum((w) => Math.abs(w)),
    kurtosis: kurtosis.reduce((a, b) => a + b, 0) / kurtosis.length,
  };
  const options = { layers: "*", reduce: "sum", limit: 1.5, target: 1.8 };
  const plain = await train({ steps: 1, microBatch: 2 });
  for (const name of Object.keys(wanted)) {
    const list = [
      { name: "next-token", weight: 1 },
      { name, weight: 0.01, ...options },
    ];
    const { steps } = await train({ steps: 1, microBatch: 2, objectives: await named(list) });
    const { parts, loss, gradNorm } = steps[0];
    expect(parts!["next-token"]).toBeCloseTo(plain.steps[0].loss, 6);
    expect(parts![name] / wanted[name]).toBeCloseTo(1, 5);
    expect(loss).toBeCloseTo(parts!["next-token"] + 0.01 * wanted[name], 4);
    expect(gradNorm).not.toBe(plain.steps[0].gradNorm);
    if (name === "kurtosis") continue;
    const mean = await named([{ name, weight: 1, ...options, reduce: "mean" } as never]);
    const alone = await train({ steps: 1, microBatch: 2, objectives: mean });
    expect(alone.steps[0].loss / (wanted[name] / count)).toBeCloseTo(1, 5);
  }
});

test("penalties on weights: of the layers that a pattern names; a model without ternary weights is refused", async () => {
  const options = { name: "l1", weight: 1, layers: "*.1.mlp.up_proj", reduce: "sum" } as never;
  const { gradients, run } = await train({ steps: 1, objectives: await named([options]) });
  const trained = run.model.parameters.filter((_, i) => gradients[0].squares[i] > 0).map(({ name }) => name);
  expect(trained).toEqual(["model.layers.1.mlp.up_proj.weight"]);
  await expect(named([{ name: "l1", weight: 1, layers: "*.upp" } as never])).rejects.toThrow(
    /train.objectives: layers of "l1": "\*\.upp" names nothing; names are such as model.layers.0/,
  );
  const full = smallRun({ modelConfig: { variant: "full" } });
  await expect(named([{ name: "dampening", weight: 1, layers: "*" } as never], full)).rejects.toThrow(
    'train.objectives: "dampening" is of ternary weights, and this model has none',
  );
});

test("a weight below 0 is refused by the objective's name, and a ramp says what it lacks", async () => {
  for (const weight of [-1, () => -1, Number.NaN])
    await expect(train({ objectives: [{ objective: nextTokenObjective, weight }] })).rejects.toThrow(
      /objective "next-token": its weight at step 1 is (-1|NaN); expected a number from 0/,
    );
  const problem = (weight: unknown) => {
    const objectives = [
      { name: "next-token", weight: 1 },
      { name: "z-loss", weight },
    ];
    try {
      resolveConfig([{ from: "x", patch: { preset: "tiny", train: { objectives } } as never }]);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(problem(0.5)).toBe(null);
  expect(problem({ from: 0, to: 1, steps: 5 })).toBe(null);
  const where = 'train.objectives[1].weight of "z-loss" is';
  expect(problem(-1)).toBe(`${where} -1; expected number to be >=0`);
  expect(problem("much")).toBe(`${where} "much"; expected a number from 0, or { from, to, steps }`);
  expect(problem({ from: 0, to: 1 })).toMatch(/steps is missing: the number of steps from `from` to `to`/);
  expect(problem({ from: 0, to: -1, steps: 5 })).toMatch(/expected number to be >=0/);
  expect(problem({ from: 0, to: 1, steps: 5, stop: 1 })).toMatch(/weight has an unknown key "stop"/);
});

test("learned clips: their halved squares are the loss, and a clip that is too wide shrinks", async () => {
  const modelConfig = { quantization: { activations: "pact8" } };
  const run = smallRun({ steps: 3, modelConfig });
  const clips = run.model.parameters.filter(({ name }) => name.endsWith("input_clip"));
  expect(clips).toHaveLength(run.model.linearLayers.length);
  const [before] = await run.runtime.readFloats(clips[0].tensor);
  const alone = await train({ steps: 3, modelConfig, objectives: await named([{ name: "clip-l2", weight: 1 }], run) });
  expect(alone.steps[0].loss).toBeCloseTo((clips.length * before ** 2) / 2, 3);
  const trained = alone.run.model.parameters.find(({ name }) => name === clips[0].name)!;
  expect((await alone.run.runtime.readFloats(trained.tensor))[0]).toBeLessThan(before);
  await expect(named([{ name: "clip-l2", weight: 1 }])).rejects.toThrow(
    'train.objectives: "clip-l2" is of learned clips, and this model has none; set model.quantization.activations to pact8',
  );
});

test("a model with learned clips trains, and its clips move", async () => {
  for (const activations of ["pact8", "pact4"]) {
    const { run } = await train({ steps: 4, modelConfig: { quantization: { activations } } });
    expect(run.losses[3]).toBeLessThan(run.losses[0]);
    const clips = run.model.parameters.filter(({ name }) => name.endsWith("input_clip"));
    const values = await Promise.all(clips.map(async ({ tensor }) => (await run.runtime.readFloats(tensor))[0]));
    // No input of so narrow a model is beyond the bound of eight bits.
    expect(new Set(values).size > 1).toBe(activations === "pact4");
  }
});
