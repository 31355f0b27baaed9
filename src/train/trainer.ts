/**
 * The training loop, as a function of injected parts: it knows no files, no clock of its own and no preset.
 *
 * A step: the next batch, in micro-batches whose gradients add up; the gradient's norm; one update; then the callbacks.
 * Every tensor of a step is freed in it, so memory is flat once each size has been seen. A step whose loss or gradient is
 * not finite changes nothing and is counted; too many in a row are a DivergenceError that names the parameter.
 */
import type { Batch, BatchFeed } from "../data/index.ts";
import { ignoredTarget } from "../data/index.ts";
import { DataError, DivergenceError, UsageError } from "../platform/errors.ts";
import type { Random } from "../platform/random.ts";
import type { Clock } from "../platform/system.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Runtime } from "../tensor/index.ts";
import type { Callback, StepEvent, StopReason, Training, TrainingState } from "./events.ts";
import { clipScale, gradientSquares, type Optimizer, sumsOfSquares } from "./optimizers.ts";
import type { Schedule } from "./schedules.ts";
import type { TrainableModel } from "./trainable-model.ts";

export interface TrainerParts {
  runtime: Runtime;
  model: TrainableModel;
  data: BatchFeed;
  optimizer: Optimizer;
  schedule: Schedule;
  /** How far quantisation is let in at a step (schedules.ts); absent: whole, always. */
  quantRamp?: (step: number) => number;
  /** N: the run ends after this step. */
  steps: number;
  /** Sequences computed at once. */
  microBatch: number;
  clipNorm: number | null;
  /** Skipped steps in a row after which training gives up. */
  maxSkippedSteps: number;
  /** Told of every event in this order: whoever saves comes last. */
  callbacks: readonly Callback[];
  clock: Clock;
  random: Random;
  /** Aborting it ends training after the step under way. */
  signal?: AbortSignal;
}

export interface TrainingOutcome {
  reason: StopReason;
  state: TrainingState;
}

/**
 * Trains from step 0, or goes on from a saved state: the model's weights, the optimiser's tensors, `data` and `random`
 * then are as they were saved (the caller has restored them), and the same losses follow to the last bit.
 *
 * @throws DivergenceError after `maxSkippedSteps` steps in a row without a finite loss and gradient
 */
export async function runTraining(parts: TrainerParts, from?: TrainingState): Promise<TrainingOutcome> {
  const { runtime, model, data, optimizer, schedule, steps, callbacks, clock, random, signal } = parts;
  let { step, totalTokens, skippedSteps, skippedInRow } = from ?? {
    step: 0,
    totalTokens: 0,
    skippedSteps: 0,
    skippedInRow: 0,
  };
  optimizer.updates = from?.updates ?? 0;
  for (const callback of callbacks) {
    const saved = from?.callbacks[callback.name];
    if (saved !== undefined) callback.restore?.(saved);
  }
  let stopped: StopReason | null = null;
  const training: Training = {
    runtime,
    model,
    optimizer,
    steps,
    random,
    async emit(event) {
      for (const callback of callbacks) await callback.on(event, training);
    },
    stop(reason) {
      stopped ??= reason;
    },
    state: () => ({
      step,
      updates: optimizer.updates,
      totalTokens,
      skippedSteps,
      skippedInRow,
      data: data.state(),
      random: random.state(),
      callbacks: Object.fromEntries(callbacks.flatMap((c) => (c.state ? [[c.name, c.state()]] : []))),
    }),
  };

  try {
    await training.emit({ type: "start", step, steps });
    while (step < steps && stopped === null) {
      if (signal?.aborted) {
        stopped = "interrupted";
        break;
      }
      await training.emit(await oneStep());
    }
    const reason = stopped ?? "finished";
    await training.emit({ type: "end", step, reason });
    return { reason, state: training.state() };
  } finally {
    for (const callback of callbacks) callback.close?.();
  }

  async function oneStep(): Promise<StepEvent> {
    const startMs = clock.monotonicMs();
    step++;
    const batch = await data.next();
    const dataWaitMs = clock.monotonicMs() - startMs;
    const quantLambda = parts.quantRamp?.(step);
    const { loss, tokens } = await withLambda(model, quantLambda, () => accumulateGradient(parts, batch));
    const gradNorm = await optimizer.gradientNorm();
    const { learningRate, weightDecay } = schedule(step);
    const skipped = !(Number.isFinite(loss) && Number.isFinite(gradNorm));
    if (skipped) {
      skippedSteps++;
      if (++skippedInRow >= parts.maxSkippedSteps) throw await divergence(parts, step, skippedInRow, loss);
      optimizer.skip();
    } else {
      skippedInRow = 0;
      optimizer.step({ learningRate, weightDecay, gradientScale: clipScale(gradNorm, parts.clipNorm) });
    }
    totalTokens += tokens;
    return {
      type: "step",
      step,
      loss,
      gradNorm,
      learningRate,
      weightDecay,
      tokens,
      totalTokens,
      epoch: batch.epoch,
      skipped,
      skippedSteps,
      elapsedMs: clock.monotonicMs() - startMs,
      dataWaitMs,
      passedOver: batch.passedOver ?? 0,
      ...(quantLambda === undefined ? {} : { quantLambda }),
      ...(data.use ? { sources: data.use() } : {}),
    };
  }
}

/** Forward and backward at a step's lambda; what is measured, written and saved meanwhile is the ternary model. */
async function withLambda<T>(model: TrainableModel, lambda: number | undefined, body: () => Promise<T>): Promise<T> {
  if (lambda === undefined) return body();
  if (!model.setLambda) throw new UsageError("training: this model cannot be quantized by degrees");
  model.setLambda(lambda);
  try {
    return await body();
  } finally {
    model.setLambda(1);
  }
}

/**
 * Forward and backward over a batch, micro-batch by micro-batch. Each micro-batch's mean loss weighs as many targets as
 * it has, so loss and gradient are those of the mean over the whole batch.
 */
async function accumulateGradient(
  { runtime, model, data, microBatch }: TrainerParts,
  { tokens_BT, targets_BT, documentStart_BT }: Batch,
): Promise<{ loss: number; tokens: number }> {
  const { batch: B, sequence: T } = data;
  const total = countTargets(targets_BT);
  if (total === 0)
    throw new DataError("no target of a batch counts in the loss; does the text of data.lossAfter occur in the data?");
  let loss = 0;
  for (let b = 0; b < B; b += microBatch) {
    const rows = Math.min(microBatch, B - b);
    const piece = (array: Int32Array) => array.subarray(b * T, (b + rows) * T);
    const targets = piece(targets_BT);
    const share = countTargets(targets) / total;
    if (!(share > 0)) continue;
    const micro = {
      tokens: piece(tokens_BT),
      batch: rows,
      length: T,
      documentStart: documentStart_BT && piece(documentStart_BT),
    };
    const value = runtime.gradient(() => model.loss(micro, targets).loss, share);
    try {
      loss += (await runtime.readFloats(value))[0] * share;
    } finally {
      value.dispose();
    }
    // Kernels run synchronously: here Ctrl-C is heard.
    await nextTurn();
  }
  return { loss, tokens: total };
}

/** Targets that count. */
export function countTargets(targets: Int32Array): number {
  let count = 0;
  for (let i = 0; i < targets.length; i++) if (targets[i] !== ignoredTarget) count++;
  return count;
}

/**
 * What went wrong first: a parameter whose weights are not finite makes everything behind it so; else the gradient went
 * wrong on its way from the loss to the embedding, and the last parameter in the model's order is the first on that way.
 */
async function divergence(
  { runtime, model }: TrainerParts,
  step: number,
  inRow: number,
  loss: number,
): Promise<DivergenceError> {
  const { parameters } = model;
  const weights = await sumsOfSquares(
    runtime,
    parameters.map((parameter) => parameter.tensor),
  );
  const gradients = await gradientSquares(runtime, parameters);
  const badWeight = weights.findIndex((sum) => !Number.isFinite(sum));
  const badGradient = gradients.findLastIndex((sum) => !Number.isFinite(sum));
  const what =
    badWeight >= 0
      ? `the weights of ${parameters[badWeight].name} are not finite`
      : badGradient >= 0
        ? `the first gradient that is not finite is that of ${parameters[badGradient].name}`
        : `the loss is ${loss}`;
  return new DivergenceError(
    `training diverged: no finite loss and gradient in ${inRow} steps in a row, up to step ${step}; ${what}; lower optimizer.learningRate, lengthen schedule.warmupSteps or set optimizer.clipNorm, and resume from a checkpoint`,
  );
}
