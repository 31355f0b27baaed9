/**
 * The training loop, as a function of injected parts: it knows no files, no clock of its own and no preset.
 *
 * A step: the next batch, in micro-batches whose losses (objectives/) have gradients that add up; the gradient's norm, and
 * the callbacks that look at it; one update; the callbacks again. What they may do is in controls.ts.
 * Every tensor of a step is freed in it, so memory is flat once each size has been seen. A step whose loss or gradient is
 * not finite changes nothing and is counted; too many in a row are a DivergenceError that names the parameter.
 */
import type { Batch, BatchFeed } from "../data/index.ts";
import { gather } from "../ops/weighted-sum/index.ts";
import { DataError, DivergenceError } from "../platform/errors.ts";
import type { Random } from "../platform/random.ts";
import type { Clock } from "../platform/system.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";
import { createControls } from "./controls.ts";
import type { Callback, StepEvent, StopReason, Training, TrainingState } from "./events.ts";
import { atStep, quantizationFacts } from "./lambda.ts";
import { nextTokenObjective } from "./objectives/next-token.ts";
import { checkObjectives, stepLoss, type WeightedObjective } from "./objectives/weighted.ts";
import { clipScale, gradientSquares, normOf, type Optimizer, sumsOfSquares } from "./optimizers/optimizer.ts";
import type { StepQuantization } from "./progressive/progressive.ts";
import type { Schedule } from "./schedules.ts";
import { summarizeTargets, type TargetSummary } from "./targets.ts";
import type { TrainableModel } from "./trainable-model.ts";

export interface TrainerParts {
  runtime: Runtime;
  model: TrainableModel;
  /** What is trained on, added up by weight; absent: the next-token loss alone. */
  objectives?: readonly WeightedObjective[];
  data: BatchFeed;
  optimizer: Optimizer;
  schedule: Schedule;
  /** How the layers are quantized at a step (progressive/); absent: wholly, always. */
  quantization?: (step: number) => StepQuantization;
  /** Steps between measurements of each objective's own gradient norm; absent or null: never. */
  termsEvery?: number | null;
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
  /** Where `controls.rollBack` goes back to; absent: it is refused. */
  rollBack?: RollBack;
}

/** The last checkpoint, as a run goes back to it. */
export interface RollBack {
  /** Whether there is one of this step or before. */
  available(step: number): boolean;
  /** Its state, and what puts its weights and optimiser tensors back (called when the right parameters are frozen). */
  find(step: number): Promise<{ state: TrainingState; restore(): Promise<void> }>;
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
  const objectives = parts.objectives ?? [{ objective: nextTokenObjective, weight: 1 }];
  checkObjectives(objectives);
  const ownParameters = objectives.flatMap(({ objective }) => objective.parameters ?? []);
  optimizer.updates = from?.updates ?? 0;
  for (const callback of callbacks) {
    const saved = from?.callbacks[callback.name];
    if (saved !== undefined) callback.restore?.(saved);
  }
  let stopped: StopReason | null = null;
  const stop = (reason: StopReason) => {
    stopped ??= reason;
  };
  const canRollBack = () => parts.rollBack?.available(step) ?? false;
  const controls = createControls({ model, optimizer, clipNorm: parts.clipNorm, canRollBack, stop });
  if (from) {
    controls.restore(from.controls);
    optimizer.restoreStartedAt?.(from.startedAt ?? {});
  }
  let logged: ReturnType<Training["takeLogged"]> = { values: {}, layers: {} };
  const training: Training = {
    runtime,
    model,
    optimizer,
    steps,
    random,
    async emit(event) {
      for (const callback of callbacks) await callback.on(event, training);
    },
    controls,
    stop,
    log(values, layers = {}) {
      const merged = Object.entries(layers).map(([name, numbers]) => [name, { ...logged.layers[name], ...numbers }]);
      logged = {
        values: { ...logged.values, ...values },
        layers: { ...logged.layers, ...Object.fromEntries(merged) },
      };
    },
    takeLogged() {
      const taken = logged;
      logged = { values: {}, layers: {} };
      return taken;
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
      ...optional("controls", controls.state()),
      ...optional("startedAt", nonEmpty(optimizer.startedAt)),
    }),
  };

  try {
    // Made here at the latest; the caller has filled those of a saved state.
    for (const callback of callbacks) callback.tensors?.(training);
    await training.emit({ type: "start", step, steps });
    while (step < steps && stopped === null) {
      if (signal?.aborted) {
        stopped = "interrupted";
        break;
      }
      await training.emit(await oneStep());
      const reason = controls.takeRollBack();
      if (reason !== null) await rollBack(reason);
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
    const quantization = parts.quantization?.(step);
    const quantizationOf = controls.quantizationOf(quantization);
    const progress = (step - 1) / steps;
    const { made, termNorms } = await atStep(model, { quantizationOf, progress }, async () => ({
      termNorms: await normsOfTerms(batch),
      made: await accumulateGradient({ ...parts, objectives }, batch, step),
    }));
    const { loss, tokens, parts: lossParts } = made;
    const all = await gradientSquares(runtime, [...model.parameters, ...ownParameters]);
    const squares = all.subarray(0, model.parameters.length);
    const gradNorm = normOf(all);
    const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
    const measured = { step, loss, ...optional("parts", lossParts), gradNorm };
    const skipReason = await controls.whileUpdateIsOpen(() =>
      training.emit({ type: "gradients", ...measured, squares, finite }),
    );
    const { learningRate: scheduled, weightDecay } = schedule(step);
    const learningRate = scheduled * controls.learningRateScale;
    const skipped = !finite || skipReason !== null;
    if (!finite) {
      if (++skippedInRow >= parts.maxSkippedSteps) throw await divergence(parts, step, skippedInRow, loss);
    } else skippedInRow = 0;
    if (skipped) {
      skippedSteps++;
      optimizer.skip();
    } else {
      const { learningRateScaleOf, clipNorm } = controls;
      const gradientScale = clipScale(gradNorm, clipNorm);
      await optimizer.step({
        learningRate,
        weightDecay,
        gradientScale,
        ...optional("learningRateScaleOf", learningRateScaleOf),
      });
    }
    totalTokens += tokens;
    return {
      type: "step",
      ...measured,
      learningRate,
      weightDecay,
      tokens,
      totalTokens,
      epoch: batch.epoch,
      skipped,
      ...optional("skipReason", finite && skipReason !== null ? skipReason : undefined),
      skippedSteps,
      elapsedMs: clock.monotonicMs() - startMs,
      dataWaitMs,
      ...optional("termNorms", termNorms),
      ...optional("passedOver", batch.passedOver),
      ...quantizationFacts(model, quantizationOf, quantization),
      ...(data.use ? { sources: data.use() } : {}),
    };
  }

  /** The gradient norm of each objective times its weight, by a forward and backward pass of its own; only at some steps. */
  async function normsOfTerms(batch: Batch): Promise<Record<string, number> | undefined> {
    const { termsEvery } = parts;
    if (!termsEvery || step % termsEvery !== 0 || objectives.length < 2) return undefined;
    const trained = [...model.parameters, ...ownParameters];
    const norms: Record<string, number> = {};
    for (const one of objectives) {
      if ((typeof one.weight === "number" ? one.weight : one.weight(step)) === 0) continue;
      await accumulateGradient({ ...parts, objectives: [one] }, batch, step);
      norms[one.objective.name] = normOf(await gradientSquares(runtime, trained));
      for (const parameter of trained) parameter.clearGradient();
    }
    return norms;
  }

  async function rollBack(reason: string): Promise<void> {
    const { state, restore } = await parts.rollBack!.find(step);
    const now = controls.state();
    // The optimiser's tensors are those of the parameters that trained then.
    controls.restore(state.controls);
    await restore();
    optimizer.updates = state.updates;
    optimizer.restoreStartedAt?.(state.startedAt ?? {});
    controls.restore(now);
    controls.rolledBack();
    const reached = step;
    ({ step, totalTokens, skippedSteps } = state);
    skippedInRow = 0;
    for (const callback of callbacks) {
      const saved = state.callbacks[callback.name];
      if (saved !== undefined && !callback.keepsStateOnRollBack) callback.restore?.(saved);
    }
    await training.emit({ type: "rollback", step, from: reached, reason });
  }
}

const optional = <K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } =>
  value === undefined ? {} : ({ [key]: value } as { [key in K]?: V });

const nonEmpty = (record: Record<string, number> | undefined) =>
  record && Object.keys(record).length > 0 ? record : undefined;

/**
 * Forward and backward over a batch, micro-batch by micro-batch. Each micro-batch's mean loss weighs as many targets as
 * it has, so loss and gradient are those of the mean over the whole batch.
 */
async function accumulateGradient(
  { runtime, model, data, microBatch, objectives }: TrainerParts & { objectives: readonly WeightedObjective[] },
  { tokens_BT, targets_BT, documentStart_BT, sequence_B, ...rest }: Batch & { source_B?: Uint16Array },
  step: number,
): Promise<{ loss: number; tokens: number; parts?: Record<string, number> }> {
  const { batch: B, sequence: T } = data;
  const pieces: { from: number; rows: number; targets: Int32Array; summary: TargetSummary }[] = [];
  let total = 0;
  for (let from = 0; from < B; from += microBatch) {
    const rows = Math.min(microBatch, B - from);
    const targets = targets_BT.subarray(from * T, (from + rows) * T);
    const summary = summarizeTargets(targets);
    pieces.push({ from, rows, targets, summary });
    total += summary.count;
  }
  if (total === 0)
    throw new DataError("no target of a batch counts in the loss; does the text of data.lossAfter occur in the data?");
  let loss = 0;
  let parts: Record<string, number> | undefined;
  for (const { from, rows, targets, summary } of pieces) {
    const share = summary.count / total;
    if (!(share > 0)) continue;
    const piece = (array: Int32Array) => array.subarray(from * T, (from + rows) * T);
    const batch = {
      tokens: piece(tokens_BT),
      targets,
      targetCount: summary.count,
      batch: rows,
      length: T,
      documentStart: documentStart_BT && piece(documentStart_BT),
      ...optional("sequences", sequence_B?.subarray(from, from + rows)),
      ...optional("sources", rest.source_B?.subarray(from, from + rows)),
    };
    const held: [name: string, tensor: Tensor][] = [];
    const value = runtime.gradient(() => {
      const made = stepLoss({ runtime, model, step }, objectives, batch, summary);
      for (const [name, tensor] of Object.entries(made.parts)) {
        tensor.storage.retain();
        held.push([name, tensor]);
      }
      return made.loss;
    }, share);
    try {
      const values = await readNumbers(runtime, [value, ...held.map(([, tensor]) => tensor)]);
      loss += values[0] * share;
      for (const [i, [name]] of held.entries()) {
        parts ??= {};
        parts[name] = (parts[name] ?? 0) + values[i + 1] * share;
      }
    } finally {
      value.dispose();
      for (const [, tensor] of held) tensor.storage.release();
    }
    // Kernels run synchronously: here Ctrl-C is heard.
    await nextTurn();
  }
  return { loss, tokens: total, ...optional("parts", parts) };
}

/** The values of tensors [1], in one read. */
async function readNumbers(runtime: Runtime, tensors: readonly Tensor[]): Promise<Float32Array> {
  if (tensors.length === 1) return runtime.readFloats(tensors[0]);
  const into = runtime.empty([tensors.length]);
  try {
    gather(runtime.plainContext(), tensors, into);
    return await runtime.readFloats(into);
  } finally {
    into.dispose();
  }
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
