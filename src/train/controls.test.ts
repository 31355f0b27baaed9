// Oracle: runs without controls, to the bit, for what a control must not change; the same run uninterrupted, for one that was
// saved and resumed; hand-made schedules for what a control stands for.
import { expect, test } from "vitest";
import { lambdas, type SmallRun, smallRun, snapshot } from "../../test/support/small-run.ts";
import type { Transformer } from "../model/index.ts";
import type { Callback, GradientsEvent, StepEvent, Training, TrainingEvent, TrainingState } from "./events.ts";
import { freeze, restoreFrozen } from "./freezing.ts";
import { createAdamW, gradientSquares } from "./optimizers.ts";
import { runTraining } from "./trainer.ts";

type Event<T extends TrainingEvent["type"]> = Extract<TrainingEvent, { type: T }>;

const when = <T extends TrainingEvent["type"]>(
  type: T,
  act: (event: Event<T>, training: Training) => void | Promise<void>,
): Callback => ({
  name: `when ${type}`,
  on: (event, training) => (event.type === type ? act(event as Event<T>, training) : undefined),
});

test("a gradients event has the norm by parameter, with the gradients still there", async () => {
  const seen: GradientsEvent[] = [];
  const run = smallRun({
    steps: 2,
    callbacks: [
      when("gradients", async (event, { runtime, model }) => {
        seen.push(event);
        expect([...(await gradientSquares(runtime, model.parameters))]).toEqual([...event.squares]);
      }),
    ],
  });
  await runTraining(run);
  expect(seen.map(({ step, finite }) => [step, finite])).toEqual([
    [1, true],
    [2, true],
  ]);
  for (const { gradNorm, squares } of seen) {
    expect(squares).toHaveLength(run.model.parameters.length);
    expect(gradNorm).toBe(Math.sqrt(squares.reduce((a, b) => a + b, 0)));
  }
});

test("the learning rate's scale multiplies the schedule's, from the update that follows", async () => {
  const rates: number[] = [];
  const halved = smallRun({
    steps: 4,
    callbacks: [
      when("gradients", ({ step }, { controls }) => {
        if (step === 3) controls.learningRateScale = 0.5;
      }),
      when("step", ({ learningRate }) => void rates.push(learningRate)),
    ],
  });
  await runTraining(halved);
  expect(rates).toEqual([1e-2, 1e-2, 5e-3, 5e-3]);
  const schedule = (step: number) => ({ learningRate: step < 3 ? 1e-2 : 5e-3, weightDecay: 0.1 });
  const scheduled = smallRun({ steps: 4, schedule });
  await runTraining(scheduled);
  expect(halved.losses).toEqual(scheduled.losses);
});

test("clipping changed before the first update is that of a run configured so", async () => {
  const configured = smallRun({ clipNorm: 0.1 });
  const changed = smallRun({
    callbacks: [
      when("start", (_event, { controls }) => {
        controls.clipNorm = 0.1;
      }),
    ],
  });
  await runTraining(configured);
  await runTraining(changed);
  expect(changed.losses).toEqual(configured.losses);
});

test("a lambda set for all layers is that of a ramp, and a pattern that names no layer is refused", async () => {
  const seen: (number | undefined)[] = [];
  const controlled = smallRun({
    steps: 3,
    callbacks: [
      when("start", (_event, { controls }) => controls.setLambda("*", 0.5)),
      when("step", ({ quantLambda }, { model, controls }) => {
        seen.push(quantLambda, (model as Transformer).linearLayers[0].lambda);
        if (seen.length === 4) controls.setLambda("*", null);
      }),
    ],
  });
  const ramped = smallRun({ steps: 3, quantization: lambdas((step) => (step < 3 ? 0.5 : 1)) });
  await runTraining(controlled);
  await runTraining(ramped);
  expect(seen).toEqual([0.5, 1, 0.5, 1, undefined, 1]);
  expect(controlled.losses).toEqual(ramped.losses);
  const wrong = when("start", (_event, { controls }) => controls.setLambda("*.down_porj", 0.5));
  await expect(runTraining(smallRun({ callbacks: [wrong] }))).rejects.toThrow(
    /"\*.down_porj" names nothing; names are such as model.layers.0/,
  );
});

test("each layer has its own lambda by its name, the last pattern set winning over the ramp", async () => {
  const given: Record<string, number>[] = [];
  const means: (number | undefined)[] = [];
  const run = smallRun({
    steps: 2,
    quantization: lambdas((step) => Math.min(1, (step - 1) / 4)),
    callbacks: [
      when("start", (_event, { controls }) => {
        controls.setLambda("*", 0.75);
        controls.setLambda("layers.1.*", 0.5);
        controls.setLambda("*.down_proj", 0);
        controls.setLambda("*", null);
      }),
      when("step", ({ quantLambda }) => void means.push(quantLambda)),
    ],
  });
  run.runtime.observe(({ op }) => {
    if (op === "cross-entropy") given.push(Object.fromEntries(run.model.linearLayers.map((l) => [l.name, l.lambda])));
  });
  await runTraining(run);
  expect(given[1]).toMatchObject({
    "model.layers.0.self_attn.q_proj": 0.25,
    "model.layers.1.self_attn.q_proj": 0.5,
    "model.layers.1.mlp.down_proj": 0,
    "model.layers.0.mlp.down_proj": 0,
  });
  // Of seven layers in each block.
  expect(means[1]).toBeCloseTo((6 * 0.25 + 6 * 0.5) / 14, 12);
  expect(run.model.linearLayers.every(({ lambda }) => lambda === 1)).toBe(true);
});

test("a skipped update changes nothing, is counted and named, and is no divergence", async () => {
  const steps: StepEvent[] = [];
  const weights: number[] = [];
  const run = smallRun({
    steps: 5,
    maxSkippedSteps: 2,
    callbacks: [
      when("gradients", ({ step }, { controls }) => {
        if (step >= 2 && step <= 4) controls.skipUpdate("not this batch");
      }),
      when("step", async (event, { runtime, model, controls }) => {
        steps.push(event);
        weights.push((await runtime.readFloats(model.parameters[1].tensor))[0]);
        expect(() => controls.skipUpdate("late")).toThrow(/belongs to a gradients event/);
      }),
    ],
  });
  const { state } = await runTraining(run);
  expect(steps.map(({ skipped }) => skipped)).toEqual([false, true, true, true, false]);
  expect(steps.map(({ skipReason }) => skipReason)).toEqual([undefined, ...Array(3).fill("not this batch"), undefined]);
  expect(weights.slice(1, 4)).toEqual(Array(3).fill(weights[0]));
  expect(weights[4]).not.toBe(weights[0]);
  expect(state).toMatchObject({ updates: 2, skippedSteps: 3 });
});

test("a callback stops a run with a reason of its own", async () => {
  const run = smallRun({
    callbacks: [
      when("step", ({ step }, { controls }) => {
        if (step === 2) controls.stop("pruned");
      }),
    ],
  });
  expect(await runTraining(run)).toMatchObject({ reason: "pruned", state: { step: 2 } });
});

test.for([
  ["embed_tokens", 1],
  ["*.down_proj", 2],
  ["layers.0.*", 11],
  ["*norm", 9],
  ["model.layers.1.self_attn.q_proj.weight", 1],
] as const)(
  "what %s freezes stays as it is, to the bit, and has no gradient and no optimiser state",
  async ([pattern, count]) => {
    for (const variant of ["bitnet", "full"] as const) {
      const run = smallRun({ steps: 2, modelConfig: { variant, recompute: pattern === "layers.0.*" } });
      freeze(run.model.parameters, [pattern]);
      const optimizer = createAdamW(run.runtime, run.model.parameters);
      const frozen = run.model.parameters.filter((parameter) => parameter.frozen);
      if (variant === "bitnet") expect(frozen).toHaveLength(count);
      const read = () => Promise.all(run.model.parameters.map(({ tensor }) => run.runtime.readFloats(tensor)));
      const before = await read();
      let squares: GradientsEvent["squares"] | undefined;
      const callbacks = [
        ...run.callbacks,
        when("gradients", (event) => {
          squares ??= event.squares;
        }),
      ];
      await runTraining({ ...run, optimizer, callbacks });
      const all = await firstSquares(variant, run.model.config.recompute);
      for (const [i, now] of (await read()).entries()) {
        const parameter = run.model.parameters[i];
        expect(String(now) === String(before[i])).toBe(parameter.frozen);
        // What is not frozen has the gradient that it has when nothing is.
        expect(squares![i]).toBe(parameter.frozen ? 0 : all[i]);
      }
      expect(optimizer.state).toHaveLength(2 * (run.model.parameters.length - frozen.length));
      optimizer.dispose();
      run.optimizer.dispose();
      run.model.dispose();
      expect(run.runtime.backend.stats.liveBytes).toBe(0);
    }
  },
);

async function firstSquares(variant: "bitnet" | "full", recompute: boolean): Promise<Float64Array> {
  let squares: Float64Array | undefined;
  await runTraining(
    smallRun({
      steps: 1,
      modelConfig: { variant, recompute },
      callbacks: [
        when("gradients", (event) => {
          squares = event.squares;
        }),
      ],
    }),
  );
  return squares!;
}

test("freezing everything, or nothing that is there, is refused", () => {
  const { parameters } = smallRun().model;
  expect(() => freeze(parameters, ["*"])).toThrow("train.freeze: * would leave nothing to train");
  expect(() => freeze(parameters, ["layers.7.*"])).toThrow(
    /"layers.7.\*" names nothing; names are such as model.embed/,
  );
  expect(() => restoreFrozen(parameters, ["model.gone"])).toThrow(/model.gone frozen, which this model has not/);
});

/** Turns every knob at some step, in a way that later losses depend on. */
const knobs = (): Callback => ({
  name: "knobs",
  on(event, { controls }) {
    if (event.type === "step" && event.step === 2) {
      controls.learningRateScale = 0.5;
      controls.clipNorm = 0.3;
      controls.setLambda("*", 0.5);
      controls.freeze("embed_tokens");
    }
    if (event.type === "step" && event.step === 4) controls.unfreeze("embed_tokens");
    if (event.type === "step" && event.step === 5) controls.freeze("*norm");
  },
});

test.for([3, 4, 5, 6])("a run saved at step %i and resumed has the controls again, and the same losses", async (at) => {
  const whole = smallRun({ steps: 9, callbacks: [knobs()] });
  await runTraining(whole);
  const first = smallRun({ steps: 9 });
  let saved: Awaited<ReturnType<typeof snapshot>> | undefined;
  const saver = when("step", async ({ step }, training) => {
    if (step === at) saved = await snapshot(first, training.state());
    if (step === at) training.stop("killed");
  });
  await runTraining({ ...first, callbacks: [...first.callbacks, knobs(), saver] });
  const { state, restore } = saved!;
  const plain = JSON.parse(JSON.stringify(state)) as TrainingState;
  expect(plain.controls).toMatchObject({
    learningRateScale: 0.5,
    clipNorm: 0.3,
    lambdas: [{ pattern: "*", lambda: 0.5 }],
  });

  const second = smallRun({ steps: 9 });
  restoreFrozen(second.model.parameters, plain.controls?.frozen ?? []);
  const optimizer = createAdamW(second.runtime, second.model.parameters);
  const parts = { ...second, optimizer, callbacks: [...second.callbacks, knobs()] };
  await restore(parts);
  second.data.restore(plain.data);
  await runTraining(parts, plain);
  expect([...first.losses, ...second.losses]).toEqual(whole.losses);
});

test("without controls the state says nothing of them", async () => {
  const { state } = await runTraining(smallRun({ steps: 1 }));
  expect(state).not.toHaveProperty("controls");
  expect(state).not.toHaveProperty("startedAt");
});

/** Saves in memory at step 3, and goes back there once from step 6. */
function rollingBack(run: SmallRun, extra: Callback[] = []) {
  const events: string[] = [];
  let saved: Awaited<ReturnType<typeof snapshot>> | undefined;
  const rescuer: Callback = {
    name: "rescuer",
    on(event, { controls }) {
      if (event.type === "gradients" && event.step === 6 && controls.rollBacks === 0) {
        controls.learningRateScale = 0.1;
        controls.rollBack("a spike");
        expect(controls.rollingBack).toBe(true);
      }
      if (event.type === "step") events.push(`step ${event.step}${event.skipped ? `, ${event.skipReason}` : ""}`);
      if (event.type === "rollback") events.push(`${event.from} to ${event.step}: ${event.reason}`);
    },
  };
  const saver = when("step", async ({ step }, training) => {
    if (step === 3) saved ??= await snapshot(run, training.state());
  });
  const parts = {
    ...run,
    callbacks: [...run.callbacks, ...extra, rescuer, saver],
    rollBack: {
      available: () => saved !== undefined,
      find: async () => ({ state: saved!.state, restore: () => saved!.restore(run) }),
    },
  };
  return { parts, events, saved: () => saved! };
}

test("a roll-back goes on from the checkpoint with new batches, and with what was set since", async () => {
  const run = smallRun({ steps: 7 });
  const { parts, events, saved } = rollingBack(run);
  const { state } = await runTraining(parts);
  expect(events).toEqual([
    ...[1, 2, 3, 4, 5].map((step) => `step ${step}`),
    "step 6, a spike",
    "6 to 3: a spike",
    ...[4, 5, 6, 7].map((step) => `step ${step}`),
  ]);
  expect(state).toMatchObject({
    step: 7,
    updates: 7,
    totalTokens: 7 * 32,
    controls: { learningRateScale: 0.1, rollBacks: 1 },
  });
  // By hand: the checkpoint of step 3, three batches passed over, a tenth of the rate.
  const again = smallRun({ steps: 7 });
  await saved().restore(again);
  again.data.restore(saved().state.data);
  for (let i = 0; i < 3; i++) await again.data.next();
  const data = again.data.state();
  await runTraining(again, { ...saved().state, data, controls: { learningRateScale: 0.1 } });
  expect(run.losses.slice(6)).toEqual(again.losses);
});

test("callbacks go back to their state of then, but for those that keep theirs", async () => {
  const counting = (name: string, keeps: boolean): Callback & { count: number } => ({
    name,
    count: 0,
    keepsStateOnRollBack: keeps,
    on(event) {
      if (event.type === "step") this.count++;
    },
    state() {
      return this.count;
    },
    restore(saved) {
      this.count = saved as number;
    },
  });
  const [back, kept] = [counting("back", false), counting("kept", true)];
  await runTraining(rollingBack(smallRun({ steps: 7 }), [back, kept]).parts);
  expect([back.count, kept.count]).toEqual([7, 10]);
});

test("without a checkpoint a roll-back is refused, and can be asked about", async () => {
  const run = smallRun({
    callbacks: [
      when("step", (_event, { controls }) => {
        expect(controls.canRollBack).toBe(false);
        controls.rollBack("no");
      }),
    ],
  });
  await expect(runTraining(run)).rejects.toThrow(/no checkpoint to roll back to; look at canRollBack first/);
});

test("values that are none are refused", async () => {
  const attempt = (act: (training: Training) => void) =>
    runTraining(smallRun({ callbacks: [when("start", (_event, training) => act(training))] }));
  await expect(
    attempt(({ controls }) => {
      controls.learningRateScale = -1;
    }),
  ).rejects.toThrow(/learningRateScale is -1/);
  await expect(
    attempt(({ controls }) => {
      controls.clipNorm = 0;
    }),
  ).rejects.toThrow(/clipNorm is 0/);
  await expect(attempt(({ controls }) => controls.setLambda("*", 2))).rejects.toThrow(/lambda is 2/);
  await expect(attempt(({ controls }) => controls.freeze("*"))).rejects.toThrow(/leave nothing to train/);
});

test("a rate of some parameters alone is saved with the run, and refused where it cannot be", async () => {
  const states: TrainingState[] = [];
  const refused: string[] = [];
  const attempt = (act: () => void) => {
    try {
      act();
    } catch (error) {
      refused.push((error as Error).message);
    }
  };
  const run = smallRun({
    steps: 3,
    callbacks: [
      when("step", ({ step }, { controls, state }) => {
        if (step === 1) {
          controls.scaleLearningRate("*.down_proj", 0.5);
          controls.scaleLearningRate("role:norm", 2);
          attempt(() => controls.scaleLearningRate("*.down_porj", 2));
          attempt(() => controls.scaleLearningRate("role:nrm", 2));
          attempt(() => controls.scaleLearningRate("role:norm", -1));
        }
        if (step === 2) controls.scaleLearningRate("*.down_proj", null);
        if (step === 3) controls.scaleLearningRate("role:norm", null);
        states.push(structuredClone(state()));
      }),
    ],
  });
  await runTraining(run);
  const both = [
    { parameters: "*.down_proj", scale: 0.5 },
    { parameters: "role:norm", scale: 2 },
  ];
  expect(states.map(({ controls }) => controls?.learningRateScales)).toEqual([both, both.slice(1), undefined]);
  expect(refused).toEqual([
    expect.stringMatching(/controls.scaleLearningRate: "\*.down_porj" names nothing/),
    expect.stringMatching(/no parameter has the role "nrm"; roles of this model are embedding/),
    "controls: the learning rate's scale of role:norm is -1; expected a number from 0",
  ]);
  const { step, skip } = createAdamW(run.runtime, run.model.parameters);
  const oneRate = smallRun({
    optimizer: { kind: "one-rate", updates: 0, step, skip, state: [], dispose() {} },
    callbacks: [when("start", (_event, { controls }) => controls.scaleLearningRate("*", 0.5))],
  });
  await expect(runTraining(oneRate)).rejects.toThrow(
    'controls: optimizer "one-rate" has one learning rate for all parameters; make it by assembleOptimizer',
  );
});
