/** A training run small enough for a test: a two-layer model over a repeating text of 17 tokens, everything seeded. */
import { expect } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { createBatches, streamOfTokens, type TokenStream } from "../../src/data/index.ts";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import { fill } from "../../src/ops/fill/index.ts";
import { createRandom } from "../../src/platform/random.ts";
import type { Clock } from "../../src/platform/system.ts";
import { Runtime, type Tensor } from "../../src/tensor/index.ts";
import type { Callback, TrainingState } from "../../src/train/events.ts";
import { createAdamW } from "../../src/train/optimizers.ts";
import { createSchedule } from "../../src/train/schedules.ts";
import type { TrainerParts } from "../../src/train/trainer.ts";

export const smallModel: ModelConfig = {
  ...presets.tiny,
  vocabSize: 17,
  width: 16,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  hiddenWidth: 32,
  contextLength: 8,
};

/** Each token follows from the one before, and the document ends after 16. */
export function smallText(tokens = 400): TokenStream {
  const ids = Int32Array.from({ length: tokens }, (_, i) => (i * 3 + (i % 5 === 0 ? 1 : 0)) % 17);
  return streamOfTokens(ids, { vocabSize: 17, endOfText: 16, textBytes: tokens });
}

/** A clock that moves on by 10 ms each time it is asked. */
export function steppingClock(): Clock {
  let now = 0;
  return {
    monotonicMs() {
      now += 10;
      return now;
    },
    epochMs: () => 1_700_000_000_000 + now,
  };
}

export interface SmallRun extends TrainerParts {
  model: Transformer;
  /** Loss of each step, in order, filled while training. */
  losses: number[];
}

export function smallRun(changes: Partial<TrainerParts> & { modelConfig?: Partial<ModelConfig> } = {}): SmallRun {
  const { modelConfig, callbacks = [], ...rest } = changes;
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(runtime, { ...smallModel, ...modelConfig }, 3);
  const losses: number[] = [];
  const recorder: Callback = {
    name: "recorder",
    on(event) {
      if (event.type === "step") losses.push(event.loss);
    },
  };
  return {
    runtime,
    data: createBatches({ tokens: smallText(), batch: 4, sequence: 8, seed: 5 }),
    optimizer: createAdamW(runtime, model.parameters),
    schedule: createSchedule({ kind: "constant", warmupSteps: 0 }, { learningRate: 1e-2, weightDecay: 0.1 }, 12),
    steps: 12,
    microBatch: 4,
    clipNorm: 1,
    maxSkippedSteps: 3,
    clock: steppingClock(),
    random: createRandom(9),
    ...rest,
    model,
    losses,
    callbacks: [recorder, ...callbacks],
  };
}

/** Progressive quantization with one lambda for all layers. */
export const lambdas =
  (lambdaAt: (step: number) => number): TrainerParts["quantization"] =>
  (step) => ({ of: () => ({ lambda: lambdaAt(step) }) });

/** Fills the gradients of these parameters with a value behind every micro-batch of these steps (from 1), as a fault would. */
export function breakGradients(
  run: SmallRun,
  { steps, value, names }: { steps: number[]; value: number; names?: string[] },
) {
  const { runtime, model } = run;
  const perStep = Math.ceil(run.data.batch / run.microBatch);
  const gradient = runtime.gradient.bind(runtime);
  let calls = 0;
  runtime.gradient = (body, seed) => {
    const loss = gradient(body, seed);
    if (steps.includes(Math.ceil(++calls / perStep)))
      for (const parameter of model.parameters)
        if (names?.includes(parameter.name) ?? true) fill(runtime.plainContext(), parameter.gradient, value);
    return loss;
  };
}

/** Weights and optimiser state as they are now, and how to put them back: a checkpoint in memory. */
export async function snapshot({ model, optimizer, runtime }: SmallRun, state: TrainingState) {
  const read = (tensor: Tensor) => runtime.read(tensor);
  const weights = await Promise.all(model.parameters.map(({ tensor }) => read(tensor)));
  const moments = await Promise.all(
    optimizer.state.map(async ({ name, tensor }) => [name, await read(tensor)] as const),
  );
  return {
    state: structuredClone(state),
    async restore(run: SmallRun) {
      for (const [i, parameter] of run.model.parameters.entries()) {
        run.runtime.backend.upload(parameter.tensor.buffer, weights[i]);
        parameter.changed();
      }
      expect(run.optimizer.state.map(({ name }) => name)).toEqual(moments.map(([name]) => name));
      for (const [i, { tensor }] of run.optimizer.state.entries())
        run.runtime.backend.upload(tensor.buffer, moments[i][1]);
    },
  };
}
