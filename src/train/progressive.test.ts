// Progressive quantization. Oracles: the closed formulas, worked out by hand at chosen steps; the same run uninterrupted, to
// the bit, for one that was saved in the middle of each kind and resumed; the wholly quantized model and the ops of
// ops/soft-ternary and ops/row-quant (held to PyTorch there) for what the layers compute.
import { describe, expect, test } from "vitest";
import { lambdas, smallRun, snapshot } from "../../test/support/small-run.ts";
import { useExtension } from "../extensions/index.ts";
import type { Transformer } from "../model/index.ts";
import { checkProgressive, type ConfigLayer, deriveRun, parseOverrides, resolveConfig } from "./config.ts";
import type { RunConfig, RunConfigPatch } from "./config-schema.ts";
import type { Callback, StepEvent, TrainingState } from "./events.ts";
import { createAdamW } from "./optimizers.ts";
import { createProgressive, type ProgressiveConfig, type ProgressiveDefinition, z } from "./index.ts";
import { progressives } from "./progressive.ts";
import { runTraining } from "./trainer.ts";

const layers = [0, 1, 2].flatMap((i) => [`model.layers.${i}.self_attn.q_proj`, `model.layers.${i}.mlp.down_proj`]);

const create = (config: ProgressiveConfig, steps: number, warmupSteps = 0) =>
  createProgressive(config, { steps, warmupSteps, layers });

const lambdasOf = (config: ProgressiveConfig, steps: number, at: number[], layer = layers[0]) => {
  const quantization = create(config, steps);
  return at.map((step) => quantization.at(step).of(layer).lambda);
};

describe("formulas", () => {
  test("linear is 0 up to its start, rises evenly, and is 1 behind its end", () => {
    const config = { kind: "linear", start: 2, end: 6 } as const;
    expect(lambdasOf(config, 10, [1, 2, 3, 4, 5, 6, 7, 10])).toEqual([0, 0, 0, 0.25, 0.5, 0.75, 1, 1]);
  });

  test("a share is of the run, rounded to steps, and 100% leaves the last step whole", () => {
    const config = { kind: "linear", start: "20%", end: "40%" } as const;
    expect(lambdasOf(config, 20, [5, 6, 7, 8, 9])).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(lambdasOf({ kind: "linear", start: 0, end: "100%" }, 5, [1, 2, 3, 4, 5])).toEqual([0, 0.25, 0.5, 0.75, 1]);
  });

  test("a ramp without length is a switch", () => {
    expect(lambdasOf({ kind: "linear", start: 3, end: 3 }, 10, [1, 3, 4, 10])).toEqual([0, 0, 1, 1]);
  });

  test("cosine: (1 - cos πt) / 2", () => {
    const found = lambdasOf({ kind: "cosine", start: 0, end: 6 }, 10, [1, 2, 3, 4, 5, 7]);
    for (const [i, wanted] of [0, 0.0669872981077807, 0.25, 0.5, 0.75, 1].entries())
      expect(found[i]).toBeCloseTo(wanted, 12);
  });

  test("exponential: 1 - (1 - t)^k", () => {
    const found = lambdasOf({ kind: "exponential", start: 0, end: 4, k: 3 }, 10, [1, 2, 3, 4, 5]);
    expect(found).toEqual([0, 1 - 0.75 ** 3, 0.875, 1 - 0.25 ** 3, 1]);
  });

  test("sigmoid: stretched to 0 and 1, a half in the middle, symmetric", () => {
    const found = lambdasOf({ kind: "sigmoid", start: 0, end: 4, k: 8 }, 10, [1, 2, 3, 4, 5]);
    // 1 / (1 + e^2) = 0.1192029220, 1 / (1 + e^4) = 0.0179862100.
    expect(found[1]).toBeCloseTo((0.119202922022 - 0.017986209962) / (1 - 2 * 0.017986209962), 9);
    expect(found[3]).toBeCloseTo(1 - found[1], 12);
    expect([found[0], found[2], found[4]]).toEqual([0, 0.5, 1]);
  });

  test("layerwise: one block after the other, from the front or from the back", () => {
    const at = [1, 2, 3, 4, 5, 6, 7];
    const of = (order: "front-to-back" | "back-to-front", layer: string) =>
      lambdasOf({ kind: "layerwise", start: 0, end: 6, order }, 10, at, layer);
    expect(of("front-to-back", layers[0])).toEqual([0, 0.5, 1, 1, 1, 1, 1]);
    expect(of("front-to-back", layers[3])).toEqual([0, 0, 0, 0.5, 1, 1, 1]);
    expect(of("front-to-back", layers[5])).toEqual([0, 0, 0, 0, 0, 0.5, 1]);
    expect(of("back-to-front", layers[0])).toEqual([0, 0, 0, 0, 0, 0.5, 1]);
    expect(of("back-to-front", layers[4])).toEqual([0, 0.5, 1, 1, 1, 1, 1]);
  });

  test("layerwise: by patterns in their order, the first that names a layer counting", () => {
    const config = { kind: "layerwise", start: 0, end: 4, order: ["*.down_proj", "*"] } as const;
    expect(lambdasOf(config, 10, [1, 2, 3, 4, 5], layers[1])).toEqual([0, 0.5, 1, 1, 1]);
    expect(lambdasOf(config, 10, [1, 2, 3, 4, 5], layers[2])).toEqual([0, 0, 0, 0.5, 1]);
  });

  test("bits: stages in their order, then the layers' own quantizers", () => {
    const stages = [
      { bits: 8, until: "20%" },
      { bits: 4, until: 5 },
    ];
    const quantization = create({ kind: "bits", stages }, 20);
    const bits = [1, 4, 5, 6, 20].map((step) => quantization.at(step).metrics!.quant_bits);
    expect(bits).toEqual([8, 8, 4, Math.log2(3), Math.log2(3)]);
    expect([1, 5, 6].map((step) => quantization.at(step).of(layers[0]).standIn !== undefined)).toEqual([
      true,
      true,
      false,
    ]);
  });

  test("full-first: nothing, a short bridge, everything; the schedule waits at its peak and decays over the rest", () => {
    const config = { kind: "full-first", until: "50%", bridge: "20%", decay: "fused" } as const;
    const at = [1, 5, 6, 7, 8, 20];
    expect(lambdasOf(config, 10, at)).toEqual([0, 0, 0, 0.5, 1, 1]);
    const fused = create(config, 10, 2);
    // W = 2, F = 5, N = 10: behind 5 each step is 8 / 5 steps of the schedule.
    expect([1, 2, 3, 5, 6, 10].map((step) => fused.scheduleStep!(step))).toEqual([1, 2, 2, 2, 3.6, 10]);
    expect(create({ ...config, decay: "schedule" }, 10, 2).scheduleStep).toBeUndefined();
  });

  test("annealed: lambda on a line to rho, then tau by a cosine to 0", () => {
    const quantization = create({ kind: "annealed", mixed: 4, end: "100%", temperature: 2 }, 13);
    const at = [1, 3, 5, 9, 13].map((step) => quantization.at(step));
    expect(at.map((q) => q.of(layers[0]).lambda)).toEqual([0, 0.5, 1, 1, 1]);
    const taus = at.map((q) => q.metrics!.quant_temperature);
    for (const [i, wanted] of [2, 2, 2, 1, 0].entries()) expect(taus[i]).toBeCloseTo(wanted, 12);
    expect(at.map((q) => q.of(layers[0]).standIn !== undefined)).toEqual([true, true, true, true, false]);
  });
});

const small = (patch: RunConfigPatch["train"], ...more: RunConfigPatch[]): RunConfig =>
  resolveConfig([
    { from: "x", patch: { preset: "tiny", train: { steps: 40, ...patch } } },
    ...more.map((patch): ConfigLayer => ({ from: "y", patch })),
  ]);

describe("config", () => {
  test("a kind brings its defaults, and options change single values", () => {
    expect(small({ progressive: { kind: "cosine" } }).train.progressive).toEqual({
      kind: "cosine",
      start: 0,
      end: "30%",
    });
    const option = (...words: string[]) =>
      resolveConfig([{ from: "x", patch: { preset: "tiny", train: { steps: 40 } } }, ...parseOverrides(words)]).train
        .progressive;
    expect(
      option("--train.progressive.kind", "exponential", "--train.progressive.end=12", "--train.progressive.k", "2"),
    ).toEqual({ kind: "exponential", start: 0, end: 12, k: 2 });
    expect(option("--train.progressive", "{kind: layerwise, order: ['*.mlp.*', '*']}")).toMatchObject({
      order: ["*.mlp.*", "*"],
      end: "30%",
    });
    expect(option("--train.progressive.kind", "cosine", "--train.progressive", "null")).toBeNull();
  });

  test("the old key is the linear kind from 0, and the later of the two keys counts", () => {
    const old = small({ quantRampSteps: 12 });
    expect(old.train).toMatchObject({ quantRampSteps: 12, progressive: null });
    const { quantization } = deriveRun(old, 1);
    expect([1, 7, 13].map((step) => quantization!.at(step).of("x").lambda)).toEqual([0, 0.5, 1]);
    const newer = small({ quantRampSteps: 12 }, { train: { progressive: { kind: "cosine" } } });
    expect(newer.train).toMatchObject({ quantRampSteps: 0, progressive: { kind: "cosine" } });
    const older = small({ progressive: { kind: "cosine" } }, { train: { quantRampSteps: 5 } });
    expect(older.train).toMatchObject({ quantRampSteps: 5, progressive: null });
    expect(() => small({ progressive: { kind: "cosine" }, quantRampSteps: 5 })).toThrow(
      /train.quantRampSteps is 5 beside train.progressive \(cosine\); keep one of them/,
    );
  });

  test("the fused decay is in the run's learning rate", () => {
    const plain = small({}, { schedule: { kind: "linear", warmupSteps: 4, finalFraction: 0 } });
    const fused = small(
      { progressive: { kind: "full-first", until: "50%" } },
      { schedule: { kind: "linear", warmupSteps: 4, finalFraction: 0 } },
    );
    const rate = (config: RunConfig, step: number) => deriveRun(config, 1).schedule(step).learningRate;
    const peak = rate(plain, 4);
    expect([4, 5, 20].map((step) => rate(fused, step))).toEqual([peak, peak, peak]);
    expect(rate(fused, 30)).toBeCloseTo(peak / 2, 12);
    expect(rate(fused, 40)).toBe(0);
    expect(rate(plain, 20)).toBeLessThan(peak);
  });

  test("what cannot be is refused in one line that says what to do", () => {
    const refused = (progressive: object, ...more: RunConfigPatch[]) => {
      let message = "";
      try {
        checkProgressive(small({ progressive: progressive as never }, ...more));
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message).not.toContain("\n");
      return message;
    };
    expect(refused({ kind: "cosin" })).toMatch(/progressive.kind is "cosin"; expected one of linear.*mean "cosine"/);
    expect(refused({ end: 3 })).toMatch(/train.progressive.kind is absent; expected one of linear/);
    expect(refused({ kind: "linear", end: 0.3 })).toMatch(/progressive.end is 0.3; expected .*"30%"/);
    expect(refused({ kind: "linear", end: "130%" })).toMatch(/progressive.end is "130%"; expected .*"30%"/);
    expect(refused({ kind: "linear", k: 3 })).toMatch(/progressive.k is not used with train.progressive.kind "linear"/);
    expect(refused({ kind: "linear", rate: 3 })).toMatch(/unknown key "train.progressive.rate"/);
    expect(refused({ kind: "linear", start: "50%" })).toMatch(/end \(30%: 12 steps\) comes before start \(50%: 20/);
    expect(refused({ kind: "linear", end: 40 })).toMatch(
      /train.progressive \(linear\): at the last step, 40, .* at lambda 0.975.*let it end by step 39, or train for more/,
    );
    expect(refused({ kind: "bits", stages: [{ bits: 8, until: 40 }] })).toMatch(/not yet by its own quantizer/);
    expect(refused({ kind: "bits", stages: [] })).toMatch(/train.progressive.stages/);
    expect(refused({ kind: "bits", stages: [{ bits: 9, until: 4 }] })).toMatch(/stages\[0\].bits is 9/);
    expect(refused({ kind: "bits", stages: [4, 8].map((bits) => ({ bits, until: 4 })) })).toMatch(
      /8 bits until 4 .* follow 4 bits .*order them by falling bits/,
    );
    expect(refused({ kind: "layerwise", order: ["*.mlp.*"] })).toMatch(/no pattern names .*q_proj.*add one/);
    expect(refused({ kind: "layerwise", order: ["*.mpl.*"] })).toMatch(/"\*.mpl.\*" names nothing; names are such as/);
    expect(refused({ kind: "annealed", end: "10%" })).toMatch(/end \(10%: 4 steps\) comes before mixed \(30%: 12/);
    expect(refused({ kind: "annealed", temperature: 0 })).toMatch(/progressive.temperature is 0; expected/);
    expect(refused({ kind: "full-first", until: 1 }, { schedule: { warmupSteps: 4 } })).toMatch(
      /until is 1 \(1 steps\), but the warm-up has 4; raise until/,
    );
    expect(refused({ kind: "annealed" }, { model: { quantization: { weights: "learned" } } })).toMatch(
      /the weight quantizer "learned" of model.layers.0.self_attn.q_proj learns parameters, .* use a ramp such as linear/,
    );
    expect(refused({ kind: "cosine" }, { model: { variant: "full" } })).toMatch(
      /train.progressive \(cosine\) is there, but a full-precision model is not quantized/,
    );
  });

  test("the old key is held to the run's end too", () => {
    expect(() => checkProgressive(small({ quantRampSteps: 1000 }))).toThrow(
      /train.quantRampSteps 1000: at the last step, 40, .* lambda 0.039/,
    );
    expect(() => checkProgressive(small({ quantRampSteps: 39 }))).not.toThrow();
    // Nothing is trained, and nothing must have been.
    expect(() => checkProgressive(small({ quantRampSteps: 10, steps: 0 }))).not.toThrow();
    const epochs = small({ quantRampSteps: 1000, steps: null, epochs: 2 });
    expect(() => checkProgressive(epochs)).not.toThrow();
    expect(() => checkProgressive(epochs, 100)).toThrow(/at the last step, 200/);
  });
});

/** One of each kind, under way at steps 3 to 6 of 9. */
const examples: { [K in ProgressiveConfig["kind"]]: ProgressiveConfig & { kind: K } } = {
  linear: { kind: "linear", start: 1, end: 7 },
  cosine: { kind: "cosine", start: 0, end: 7 },
  exponential: { kind: "exponential", start: 0, end: "80%", k: 2 },
  sigmoid: { kind: "sigmoid", start: 0, end: 7, k: 6 },
  layerwise: { kind: "layerwise", start: 0, end: 7, order: "back-to-front" },
  bits: {
    kind: "bits",
    stages: [
      { bits: 8, until: 4 },
      { bits: 4, until: 6 },
    ],
  },
  "full-first": { kind: "full-first", until: 3, bridge: 3, decay: "fused" },
  annealed: { kind: "annealed", mixed: 3, end: "100%", temperature: 1 },
};

function kindRun(config: ProgressiveConfig, extra: Callback[] = [], modelConfig = {}) {
  const run = smallRun({ steps: 9, callbacks: extra, modelConfig });
  const names = run.model.quantizedLayers.map(({ name }) => name);
  const quantization = createProgressive(config, { steps: 9, warmupSteps: 0, layers: names });
  return Object.assign(run, { quantization: quantization.at.bind(quantization) });
}

const whole = new Map<string, ReturnType<typeof kindRun>>();

/** Left alone, once for each kind. */
async function wholeRun(config: ProgressiveConfig) {
  const found = whole.get(config.kind);
  if (found) return found;
  const run = kindRun(config);
  await runTraining(run);
  whole.set(config.kind, run);
  return run;
}

test("every kind of this package is in these tests", () => {
  expect(Object.keys(examples)).toEqual(progressives.map(({ kind }) => kind));
});

describe.for(Object.values(examples))("$kind", (config) => {
  test.for([3, 5])("a run saved at step %i and resumed has the same losses", async (at) => {
    const whole = await wholeRun(config);
    let saved: Awaited<ReturnType<typeof snapshot>> | undefined;
    const saver: Callback = {
      name: "saver",
      async on(event, training) {
        if (event.type !== "step" || event.step !== at) return;
        saved = await snapshot(first, training.state());
        training.stop("killed");
      },
    };
    const first = kindRun(config);
    await runTraining({ ...first, callbacks: [...first.callbacks, saver] });
    const plain = JSON.parse(JSON.stringify(saved!.state)) as TrainingState;
    const second = kindRun(config);
    const parts = { ...second, optimizer: createAdamW(second.runtime, second.model.parameters) };
    await saved!.restore(parts);
    second.data.restore(plain.data);
    await runTraining(parts, plain);
    expect([...first.losses, ...second.losses]).toEqual(whole.losses);
  });

  test("trains otherwise than without, ends whole, leaves the model whole between steps, and recomputes to the bit", async () => {
    const steps: StepEvent[] = [];
    const between: boolean[] = [];
    const watcher: Callback = {
      name: "watcher",
      on(event, { model }) {
        if (event.type !== "step") return;
        steps.push(event);
        between.push((model as Transformer).linearLayers.every(({ lambda, standIn }) => lambda === 1 && !standIn));
      },
    };
    const run = await wholeRun(config);
    const plain = smallRun({ steps: 3 });
    await runTraining(plain);
    expect(run.losses[2]).not.toBe(plain.losses[2]);
    const recomputed = kindRun(config, [watcher], { recompute: true });
    await runTraining(recomputed);
    expect(steps.at(-1)).toMatchObject({ quantLambda: 1 });
    expect(between).toEqual(Array(9).fill(true));
    expect(run.losses.every(Number.isFinite)).toBe(true);
    expect(recomputed.losses).toEqual(run.losses);
  });
});

test("a callback's lambda takes the place of the kind's, stand-in included", async () => {
  const setter: Callback = {
    name: "setter",
    on: (event, { controls }) => {
      if (event.type === "start") controls.setLambda("*", 0.5);
    },
  };
  const annealed = kindRun(examples.annealed, [setter]);
  const half = smallRun({ steps: 9, quantization: lambdas(() => 0.5) });
  await runTraining(annealed);
  await runTraining(half);
  expect(annealed.losses).toEqual(half.losses);
});

test("bits and tau are in the metrics of a step; layers of other quantizers keep them", async () => {
  const facts: (StepEvent["quantization"] | undefined)[] = [];
  const seen = new Set<string>();
  const watcher: Callback = {
    name: "watcher",
    on: (event) => void (event.type === "step" && facts.push(event.quantization)),
  };
  const overrides = [{ layers: "layers.0.*", weights: "int8" }];
  const run = kindRun(examples.bits, [watcher], { width: 32, quantization: { overrides } });
  run.runtime.observe(({ op, inputs }) => {
    if (op !== "row-quant") return;
    const parameter = run.model.parameters.find(({ tensor }) => tensor === inputs[0]);
    seen.add(parameter!.name);
  });
  await runTraining(run);
  expect(facts.map((fact) => fact!.quant_bits)).toEqual([8, 8, 8, 8, 4, 4, ...Array(3).fill(Math.log2(3))]);
  expect(seen.size).toBe(7);
  expect([...seen].every((name) => name.startsWith("model.layers.1."))).toBe(true);
});

test("an extension adds a kind by name, with its own keys checked", () => {
  const steps = {
    kind: "stairs-test",
    schema: z.strictObject({ kind: z.literal("stairs-test"), stairs: z.int().positive() }),
    defaults: { stairs: 2 },
    create: ({ stairs }, { steps: N }) => ({
      at: (step) => {
        const all = { lambda: Math.min(1, Math.floor(((step - 1) / (N - 1)) * stairs) / stairs) };
        return { of: () => all };
      },
    }),
  } satisfies ProgressiveDefinition<{ kind: "stairs-test"; stairs: number }>;
  useExtension({ progressives: [steps as ProgressiveDefinition] });
  const config = small({ progressive: { kind: "stairs-test", stairs: 4 } });
  const { quantization } = deriveRun(config, 1);
  expect([1, 11, 40].map((step) => quantization!.at(step).of("x").lambda)).toEqual([0, 0.25, 1]);
  expect(() => checkProgressive(config)).not.toThrow();
  expect(() => small({ progressive: { kind: "stairs-test", stairs: 0 } })).toThrow(/progressive.stairs is 0; expected/);
  expect(() => useExtension({ progressives: [steps as ProgressiveDefinition] })).toThrow(/exists already/);
});
