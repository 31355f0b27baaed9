// Oracle: the same run uninterrupted, to the bit: what an optimizer, a control or a callback keeps of each weight is saved and
// taken back whole. In memory; test/train-kill.test.ts does it with processes that are killed.
import { expect, test } from "vitest";
import { type SmallRun, smallRun } from "../../test/support/small-run.ts";
import { createCallbacks } from "./callbacks.ts";
import type { Callback, StepEvent, TrainingState } from "./events.ts";
import { createOptimizer, type OptimizerChoice } from "./optimizers.ts";
import { createSchedule, type ScheduleConfig } from "./schedules.ts";
import { runTraining } from "./trainer.ts";

interface Mode {
  optimizer?: OptimizerChoice;
  schedule?: ScheduleConfig;
  callbacks?: { name: string; [option: string]: unknown }[];
}

const steps = 16;
const freezing = { name: "freeze-oscillations", from: 0.15, to: 0.05, start: 0, momentum: 0.1 };
const flips = { name: "flip-rate", start: 0.25, target: "measured", eta: 2, momentum: 0.9, maxScale: 2 };

const modes: Record<string, Mode> = {
  muon: { optimizer: { kind: "muon" } },
  "muon with its own rates, cautious": {
    optimizer: {
      ...{ kind: "muon", learningRate: 1e-2, scale: "spectral", cautious: true, weightDecay: 0.1 },
      adamw: { learningRate: 3e-3 },
    } as OptimizerChoice,
  },
  "multipliers and a latent clip": {
    optimizer: {
      kind: "adamw",
      latentClip: 1.5,
      multipliers: [
        { parameters: "role:ternary", learningRate: 2 },
        { parameters: "*.down_proj", weightDecay: 0 },
      ],
    },
  },
  "warm-up, stable, decay": {
    schedule: { kind: "wsd", warmupSteps: 2, finalFraction: 0, decayFraction: 0.5, decayShape: "1-sqrt" },
  },
  "freezing of oscillations": { callbacks: [freezing] },
  "flip-rate control": { callbacks: [flips] },
  "all of it": {
    optimizer: {
      kind: "muon",
      cautious: true,
      latentClip: 2,
      multipliers: [{ parameters: "embed_tokens", learningRate: 3 }],
    },
    callbacks: [flips, freezing],
  },
};

/** A run in a mode, and what its callbacks logged. */
function runOf(
  { optimizer, schedule, callbacks = [] }: Mode,
  after: readonly Callback[] = [],
): SmallRun & { logged: object[] } {
  const logged: object[] = [];
  const recorder: Callback = {
    name: "logged",
    on(event, training) {
      if (event.type === "step") logged.push(training.takeLogged().values);
    },
  };
  const run = smallRun({ steps, callbacks: [...createCallbacks(callbacks), recorder, ...after] });
  if (optimizer) run.optimizer = createOptimizer(run.runtime, run.model.parameters, optimizer);
  if (schedule) run.schedule = createSchedule(schedule, { learningRate: 1e-2, weightDecay: 0.1 }, steps);
  return { ...run, logged };
}

/** Everything that a checkpoint has, in the order in which it is put back. */
const tensorsOf = (run: SmallRun, withCallbacks: boolean) => [
  ...run.model.parameters.map(({ tensor }) => tensor),
  ...run.optimizer.state.map(({ tensor }) => tensor),
  ...(withCallbacks ? run.callbacks : []).flatMap(
    (callback) => callback.tensors?.(run).map(({ tensor }) => tensor) ?? [],
  ),
];

test.for(Object.entries(modes))("%s: a run saved and resumed has the losses of one that was not", async ([, mode]) => {
  const whole = runOf(mode);
  await runTraining(whole);

  const half = 7;
  let state: TrainingState | undefined;
  let saved: Awaited<ReturnType<SmallRun["runtime"]["read"]>>[] = [];
  const saving: Callback = {
    name: "saving",
    async on(event, training) {
      if (event.type !== "step" || event.step !== half) return;
      state = structuredClone(training.state());
      saved = await Promise.all(tensorsOf(first, true).map((tensor) => training.runtime.read(tensor)));
      training.stop("saved");
    },
  };
  const first = runOf(mode, [saving]);
  await runTraining(first);

  const second = runOf(mode);
  const weights = second.model.parameters.length;
  for (const [i, { buffer }] of tensorsOf(second, false).entries()) second.runtime.backend.upload(buffer, saved[i]);
  for (const parameter of second.model.parameters) parameter.changed();
  // As train.ts does: callbacks make their tensors over weights that are restored.
  const all = tensorsOf(second, true);
  expect(all).toHaveLength(saved.length);
  expect(saved.length).toBeGreaterThan(weights);
  for (const [i, { buffer }] of all.entries()) second.runtime.backend.upload(buffer, saved[i]);
  second.data.restore(state!.data);
  await runTraining(second, state);
  expect([...first.losses, ...second.losses]).toEqual(whole.losses);
  expect([...first.logged, ...second.logged]).toEqual(whole.logged);
});

test.for(Object.entries(modes))("%s: changes what is trained, and its memory is given back", async ([, mode]) => {
  const run = runOf(mode);
  await runTraining(run);
  const plain = smallRun({ steps });
  await runTraining(plain);
  expect(run.losses.every(Number.isFinite)).toBe(true);
  expect(run.losses).not.toEqual(plain.losses);
  run.optimizer.dispose();
  run.model.dispose();
  // The optimizer that smallRun made first.
  if (mode.optimizer) {
    const { stats } = run.runtime.backend;
    const adamw = 8 * run.model.parameters.reduce((sum, { size }) => sum + size, 0);
    expect(stats.liveBytes).toBe(adamw);
  } else expect(run.runtime.backend.stats.liveBytes).toBe(0);
});

test("settings that are off leave the losses as they were, to the bit", async () => {
  const off = { cautious: false, latentClip: null, multipliers: [] };
  const run = runOf({ optimizer: { kind: "adamw", ...off } });
  const plain = smallRun({ steps });
  await runTraining(run);
  await runTraining(plain);
  expect(run.losses).toEqual(plain.losses);
});

test("a control that halves the rate of the ternary layers is a multiplier of a half, and null takes it back", async () => {
  const rates: number[] = [];
  const controlled = runOf({}, [
    {
      name: "control",
      on(event, { controls }) {
        if (event.type === "start") controls.scaleLearningRate("role:ternary", 0.5);
        if (event.type === "step") rates.push((event as StepEvent).learningRate);
        if (event.type === "step" && event.step === 8) controls.scaleLearningRate("role:ternary", null);
      },
    },
  ]);
  const multiplied = runOf({
    optimizer: { kind: "adamw", multipliers: [{ parameters: "role:ternary", learningRate: 0.5 }] },
  });
  const plain = runOf({});
  for (const run of [controlled, multiplied, plain]) await runTraining(run);
  // The loss of step 9 still belongs to the weights of the controlled updates.
  expect(controlled.losses.slice(0, 9)).toEqual(multiplied.losses.slice(0, 9));
  expect(controlled.losses[10]).not.toBe(multiplied.losses[10]);
  expect(controlled.losses[1]).not.toBe(plain.losses[1]);
  expect(rates.every((rate) => rate === 1e-2)).toBe(true);
});

test("a model without ternary layers has no use for these callbacks, nor for a latent clip", async () => {
  const modelConfig = { variant: "full" as const };
  for (const name of ["flip-rate", "freeze-oscillations"]) {
    const options = name === "flip-rate" ? flips : freezing;
    await expect(runTraining(smallRun({ modelConfig, callbacks: createCallbacks([options]) }))).rejects.toThrow(
      `train.callbacks: ${name} is for ternary layers, and this model has none; leave it out`,
    );
  }
  const rare = smallRun({ modelConfig: { requantizeEvery: 2 }, callbacks: createCallbacks([freezing]) });
  await expect(runTraining(rare)).rejects.toThrow(/model.requantizeEvery is 2; set it to 1/);
  const { runtime, model } = smallRun({ modelConfig });
  expect(() => createOptimizer(runtime, model.parameters, { kind: "adamw", latentClip: 2 })).toThrow(
    "optimizer.latentClip is 2 but this model has no ternary layers",
  );
});
