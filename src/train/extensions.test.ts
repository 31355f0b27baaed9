// An extension's objective, optimizer, schedule and callback, imported by the public doors alone.
// Oracles: this package's own parts, which each of them is under some setting, to the bit; an uninterrupted run, for one that
// was stopped and resumed.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { useExtension } from "../extensions/index.ts";
import { UsageError } from "../index.ts";
import { crossEntropy, fill, sgdStep } from "../ops/index.ts";
import type { Tensor } from "../tensor/index.ts";
import {
  assembleOptimizer,
  type Callback,
  type DecaySettings,
  defineCallback,
  defineObjective,
  type OptimizerDefinition,
  optimizerKeys,
  type RunConfigPatch,
  readRunConfig,
  readScalars,
  type ScheduleDefinition,
  scheduleKeys,
  type TrainOptions,
  type TrainReport,
  train,
  z,
} from "./index.ts";

/** The next-token loss over the end of each sequence, where there is the most context. */
const lateTokens = defineObjective({
  name: "late-tokens",
  options: { from: z.number().min(0).lt(1) },
  create: ({ from }) => ({
    name: "late-tokens",
    loss(_model, { batch, length, targets }, { runtime, logits }) {
      const late = targets.map((target, i) => (i % length < from * length ? -100 : target));
      const ids = runtime.upload([batch, length], "i32", late);
      return { loss: runtime.applyAll(crossEntropy, [logits(), ids], {})[0] };
    },
  }),
});

/** SGD with momentum whose norms learn at a rate of their own. */
const sgdByRole: OptimizerDefinition<{ kind: "sgd-by-role"; momentum: number; normRate: number } & DecaySettings> = {
  kind: "sgd-by-role",
  stateLabel: "momentum",
  schema: z.strictObject({
    kind: z.literal("sgd-by-role"),
    ...optimizerKeys,
    momentum: z.number().positive().lt(1),
    normRate: z.number().min(0),
  }),
  defaults: { momentum: 0.9, normRate: 1 },
  create: (runtime, parameters, config) =>
    assembleOptimizer<{ momentum: Tensor }>(parameters, config, {
      kind: "sgd-by-role",
      prefixes: ["momentum"],
      createState({ shape }) {
        const momentum = runtime.empty(shape);
        fill(runtime.plainContext(), momentum, 0);
        return { momentum };
      },
      update({ role, tensor, gradient }, { momentum }, values) {
        const learningRate = values.learningRate * (role === "norm" ? config.normRate : 1);
        const settings = { ...values, learningRate, momentum: config.momentum };
        sgdStep(runtime.plainContext(), { weight: tensor, gradient, momentum }, settings);
      },
    }),
  stateBytes: (_config, { count }) => 4 * count,
};

/** The peak, halved every so many steps. */
const staircase: ScheduleDefinition<{ kind: "staircase"; warmupSteps: number; every: number }> = {
  kind: "staircase",
  schema: z.strictObject({ kind: z.literal("staircase"), ...scheduleKeys, every: z.int().positive() }),
  defaults: { warmupSteps: 0, every: 4 },
  create:
    ({ every }, { learningRate, weightDecay }) =>
    (step) => ({ learningRate: learningRate / 2 ** Math.floor((step - 1) / every), weightDecay }),
};

/** Halves the learning rate once, at a step that a config names. */
const halving = defineCallback({
  name: "halving",
  options: { at: z.int().positive() },
  create({ at }) {
    let heard: string[] = [];
    return {
      name: "halving",
      on(event, { controls }) {
        heard = [...new Set([...heard, event.type])];
        if (event.type === "step" && event.step === at) controls.learningRateScale = 0.5;
      },
      state: () => heard,
      restore: (saved) => {
        heard = saved as string[];
      },
    };
  },
});

useExtension({ objectives: [lateTokens], optimizers: [sgdByRole], schedules: [staircase], callbacks: [halving] });

const root = mkdtempSync(join(tmpdir(), "bitnet-extensions-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const text = join(root, "text.txt");
writeFileSync(text, "the cat sat on a mat and saw the dog\n<|endoftext|>\n".repeat(40));
let runs = 0;

const small: RunConfigPatch = {
  preset: "tiny",
  model: { vocabSize: 40, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
  data: { files: [text], cacheDir: join(root, "cache"), validFraction: 0.2 },
  tokenizer: { kind: "characters" },
  train: { batch: 4, sequence: 16, microBatch: 2, steps: 8, seed: 4 },
  schedule: { kind: "constant" },
  evaluation: { every: 4, batches: 1 },
  checkpoints: { every: 3, keepLast: 9 },
  metrics: { tensorboard: false },
  backend: { name: "reference" },
};

async function run(patch: RunConfigPatch, options: Partial<TrainOptions> = {}) {
  const runFolder = options.runFolder ?? join(root, `run${++runs}`);
  const config = [small, patch].map((p) => ({ from: "test", patch: p }));
  const report: TrainReport = await train({ config, ...options, runFolder });
  const lines = readScalars(join(runFolder, "metrics", "scalars.jsonl"));
  const of = (key: string) => lines.filter((line) => key in line).map((line) => line[key]);
  return { report, losses: of("loss"), validation: of("val_loss"), lines: lines.filter((line) => "loss" in line) };
}

describe("an objective", () => {
  test("of all tokens is the next-token loss, to the bit; of some it is another, and validation stays what it was", async () => {
    const plain = await run({});
    const all = await run({ train: { objectives: [{ name: "late-tokens", weight: 1, from: 0 }] } });
    const late = await run({
      train: {
        objectives: [
          { name: "late-tokens", weight: 0.5, from: 0.5 },
          { name: "next-token", weight: { from: 0.5, to: 1, steps: 8 } },
        ],
      },
    });
    expect(all.losses).toEqual(plain.losses);
    expect(all.lines[0].losses).toEqual({ "late-tokens": plain.losses[0] });
    expect(all.lines[0]).not.toHaveProperty("ppl_smoothed");
    expect(plain.lines[0]).not.toHaveProperty("losses");
    expect(late.validation[0]).toBe(plain.validation[0]);
    expect(late.losses[0]).not.toBe(plain.losses[0]);
    const { losses, ppl_smoothed } = late.lines[0] as unknown as {
      losses: Record<string, number>;
      ppl_smoothed: number;
    };
    expect(Object.keys(losses)).toEqual(["late-tokens", "next-token"]);
    expect(late.losses[0]).toBeCloseTo(0.5 * losses["late-tokens"] + 0.5625 * losses["next-token"], 5);
    expect(ppl_smoothed).toBeCloseTo(Math.exp(losses["next-token"]), 6);
    expect(readRunConfig(late.report.folder).train?.objectives?.[0]).toEqual({
      name: "late-tokens",
      weight: 0.5,
      from: 0.5,
    });
  });
});

describe("an optimiser and a schedule", () => {
  test("are this package's own where they say the same, to the bit", async () => {
    const rate = { learningRate: 0.05, weightDecay: 0.1 };
    const [own, mine] = [
      await run({ optimizer: { kind: "sgd", ...rate } }),
      await run({ optimizer: { kind: "sgd-by-role", ...rate }, schedule: { kind: "staircase", every: 100 } }),
    ];
    expect(mine.losses).toEqual(own.losses);
    const slower = await run({
      optimizer: { kind: "sgd-by-role", ...rate, normRate: 0 },
      schedule: { kind: "staircase" },
    });
    expect(slower.losses).not.toEqual(own.losses);
    expect(slower.lines.map(({ learning_rate }) => learning_rate)).toEqual([
      ...Array(4).fill(0.05),
      ...Array(4).fill(0.025),
    ]);
  });
});

describe("a callback", () => {
  const careful: Callback = {
    name: "careful",
    on(event, { controls }) {
      if (event.type === "step" && event.step === 2) {
        controls.learningRateScale = 0.5;
        controls.freeze("embed_tokens");
      }
      if (event.type === "step" && event.step === 4) controls.unfreeze("embed_tokens");
    },
  };
  const stopAt = (step: number): Callback => ({
    name: "stopper",
    on: (event, { controls }) => void (event.type === "step" && event.step === step && controls.stop("budget spent")),
  });

  test.for([3, 5, 6])(
    "acts on the run, stops it at step %i with a reason of its own, and the resumed run has the same losses",
    async (at) => {
      const mine = {
        optimizer: { kind: "sgd-by-role", learningRate: 0.05 },
        train: {
          objectives: [
            { name: "next-token", weight: 1 },
            { name: "late-tokens", weight: 0.5, from: 0.5 },
          ],
        },
      };
      const whole = await run(mine, { callbacks: [careful] });
      const first = await run(mine, { callbacks: [careful, stopAt(at)] });
      expect(first.report).toMatchObject({ reason: "budget spent", step: at });
      const again = await train({ config: [], resume: first.report.folder, callbacks: [careful] });
      expect(again).toMatchObject({ reason: "finished", step: 8 });
      const lines = readScalars(join(first.report.folder, "metrics", "scalars.jsonl"));
      expect(lines.flatMap((line) => ("loss" in line ? [line.loss] : []))).toEqual(whole.losses);
    },
  );

  test("named by a config is made with its options, saved with the run, and resumed", async () => {
    const mine: RunConfigPatch = { train: { callbacks: [{ name: "halving", at: 3 }] } };
    const whole = await run(mine);
    expect(whole.lines.map(({ learning_rate }) => learning_rate)).toEqual(
      whole.lines.map(({ step }) => (step > 3 ? 0.5 : 1) * (whole.lines[0].learning_rate as number)),
    );
    const first = await run(mine, { callbacks: [stopAt(4)] });
    expect(readRunConfig(first.report.folder).train?.callbacks).toEqual([{ name: "halving", at: 3 }]);
    const state = JSON.parse(readFileSync(join(first.report.checkpoint!, "trainer_state.json"), "utf8")).training;
    expect(state.callbacks.halving).toContain("gradients");
    await train({ config: [], resume: first.report.folder });
    const lines = readScalars(join(first.report.folder, "metrics", "scalars.jsonl"));
    expect(lines.flatMap((line) => ("loss" in line ? [line.loss] : []))).toEqual(whole.losses);
  });

  // Step 4 has a checkpoint, since its validation loss is the lowest.
  test("rolls back to the last checkpoint, and the file of metrics says so", async () => {
    const rescuer: Callback = {
      name: "rescuer",
      on(event, { controls }) {
        if (event.type === "gradients" && event.step === 5 && controls.rollBacks === 0) {
          controls.learningRateScale = 0.25;
          controls.rollBack("loss spike");
        }
      },
    };
    const { report, lines } = await run({}, { callbacks: [rescuer] });
    expect(report).toMatchObject({ reason: "finished", step: 8 });
    expect(lines.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const file = readFileSync(join(report.folder, "metrics", "scalars.jsonl"), "utf8");
    expect(file).toContain('{"resumed_from":4}');
    const state = JSON.parse(readFileSync(join(report.checkpoint!, "trainer_state.json"), "utf8")).training;
    expect(state.controls).toEqual({ learningRateScale: 0.25, rollBacks: 1 });
  });

  test("saves tensors with the run: they go back with a rollback, on with a resume, and what it logs is in the step's line", async () => {
    const counting = (keeps: boolean, rollBackAt?: number): Callback => {
      let count: Tensor | null = null;
      return {
        name: `counting ${keeps}`,
        beforeMetrics: true,
        keepsStateOnRollBack: keeps,
        state: () => ({}),
        restore() {},
        tensors({ runtime }) {
          count ??= runtime.upload([1], "f32", Float32Array.of(0));
          return [{ name: "count", tensor: count }];
        },
        async on(event, { runtime, controls, log }) {
          if (event.type === "gradients" && event.step === rollBackAt && controls.rollBacks === 0)
            controls.rollBack("x");
          if (event.type !== "step") return;
          const [now] = await runtime.readFloats(count!);
          runtime.backend.upload(count!.buffer, Float32Array.of(now + 1));
          log({ [`count_${keeps}`]: now + 1 });
        },
        close: () => count?.dispose(),
      };
    };
    // Step 4 has a checkpoint; step 5 is counted twice by the one that keeps its count.
    const back = await run({}, { callbacks: [counting(false, 5), counting(true)] });
    expect(back.lines.map(({ count_false }) => count_false)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(back.lines.map(({ count_true }) => count_true)).toEqual([1, 2, 3, 4, 6, 7, 8, 9]);
    const first = await run({}, { callbacks: [counting(false), stopAt(6)] });
    expect(first.lines.at(-1)!.count_false).toBe(6);
    await train({ config: [], resume: first.report.folder, callbacks: [counting(false)] });
    const lines = readScalars(join(first.report.folder, "metrics", "scalars.jsonl"));
    expect(lines.findLast((line) => "loss" in line)!.count_false).toBe(8);
    // Without the callback there is nothing to restore its tensors into, and nothing that needs them.
    await expect(train({ config: [], resume: first.report.folder })).resolves.toMatchObject({ step: 8 });
  });
});

describe("train.freeze", () => {
  test("keeps parameters as they were, without optimiser state, through a resume; another list is refused", async () => {
    const frozen = { train: { freeze: ["embed_tokens", "*norm"] } };
    const whole = await run(frozen);
    const plain = await run({});
    expect(whole.losses[0]).toBe(plain.losses[0]);
    expect(whole.losses.slice(1)).not.toEqual(plain.losses.slice(1));
    const first = await run(frozen, {
      callbacks: [
        { name: "stop", on: (event, { stop }) => void (event.type === "step" && event.step === 4 && stop("x")) },
      ],
    });
    const state = readFileSync(join(first.report.checkpoint!, "optimizer.safetensors"), "latin1");
    expect(state).toContain('"m.model.layers.0.mlp.down_proj.weight"');
    expect(state).not.toContain("embed_tokens");
    const other = train({
      config: [{ from: "--train.freeze", patch: { train: { freeze: ["embed_tokens"] } } }],
      resume: first.report.folder,
    });
    await expect(other).rejects.toThrow(
      /froze \[embed_tokens,\*norm\], but train.freeze \[embed_tokens\] was asked for/,
    );
    await train({ config: [], resume: first.report.folder });
    const lines = readScalars(join(first.report.folder, "metrics", "scalars.jsonl"));
    expect(lines.flatMap((line) => ("loss" in line ? [line.loss] : []))).toEqual(whole.losses);
  });
});

test("what does not fit is refused in one line", async () => {
  const refusal = (patch: object) => run(patch as RunConfigPatch);
  const objectives = (...list: object[]) => ({ train: { objectives: list } });
  const callbacks = (...list: object[]) => ({ train: { callbacks: list } });
  await expect(refusal(objectives({ name: "late-token", weight: 1, from: 0 }))).rejects.toThrow(
    'train.objectives[0].name is "late-token"; expected one of next-token, z-loss, label-smoothing, dampening, proximal, kurtosis, range, l1, clip-l2, late-tokens; did you mean "late-tokens"?',
  );
  await expect(refusal(objectives({ name: "next-token", weight: 1, from: 0 }))).rejects.toThrow(
    'train.objectives[0].from is not used with train.objectives[0].name "next-token"; leave it out',
  );
  await expect(refusal(objectives({ name: "late-tokens", weight: 1, from: 2 }))).rejects.toThrow(
    /train.objectives\[0\].from is 2; expected number to be <1/,
  );
  const plain = { name: "next-token", weight: 1 };
  await expect(refusal(objectives(plain, plain))).rejects.toThrow(/train.objectives: "next-token" is there twice/);
  await expect(refusal(callbacks({ name: "halvin", at: 1 }))).rejects.toThrow(
    'train.callbacks[0].name is "halvin"; expected one of grid-pull, flip-rate, freeze-oscillations, halving; did you mean "halving"?',
  );
  await expect(refusal(callbacks({ name: "halving" }))).rejects.toThrow(
    /train.callbacks\[0\].at is absent; callback "halving": expected number, but it is missing/,
  );
  await expect(refusal(callbacks({ name: "halving", at: 1, by: 2 }))).rejects.toThrow(
    /callback "halving": Unrecognized key: "by"/,
  );
  const twice = callbacks({ name: "halving", at: 1 }, { name: "halving", at: 2 });
  await expect(refusal(twice)).rejects.toThrow(/train.callbacks: "halving" is there twice/);
  expect(() => useExtension({ objectives: [lateTokens] })).toThrow(/objective "late-tokens" exists already/);
  expect(() => useExtension({ callbacks: [halving] })).toThrow(/callback "halving" exists already/);
  expect(() => useExtension({ optimizers: [{ ...sgdByRole, kind: "sgd" }] })).toThrow(/optimizer "sgd" exists already/);
  expect(() => useExtension({ activationQuantizers: [{ name: "mine", codes: "int8", op: null as never }] })).toThrow(
    /activation quantizer "mine": codes is "int8", which is absmax8's alone; set codes: null/,
  );
  expect(() => useExtension({ schedules: [{ kind: "none" } as never] })).toThrow(/schedule "none" has no create/);
  expect(() => useExtension({ schedules: [{ ...staircase, kind: "mine", schema: z.object({}) }] })).toThrow(
    /schedule "mine" has no schema with kind: z.literal\("mine"\)/,
  );
  expect(() => useExtension({ tasks: [{ name: "no-task", kind: "continuation" } as never] })).toThrow(
    /task "no-task" has no read\(\); see docs\/extending.md/,
  );
  expect(() => useExtension({ filters: [{ name: "no-filter" } as never] })).toThrow(/filter "no-filter" has no schema/);
  await expect(refusal({ train: { freeze: ["layers.9.*"] } })).rejects.toThrow(
    /train.freeze: "layers.9.\*" names nothing/,
  );
  await expect(refusal({ optimizer: { kind: "sgd-by-roles" } })).rejects.toThrow(UsageError);
});
