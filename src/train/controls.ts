/**
 * What a callback may do to a run, beside watching it: `training.controls`. Changes hold from the update that follows, are
 * saved with the run, and a resumed run has them again. The trainer makes one and reads it; mitigations, schedules of
 * freezing and searches are callbacks that turn these knobs.
 */
import { UsageError } from "../platform/errors.ts";
import { freeze, frozenNames, restoreFrozen } from "./freezing.ts";
import { layerNames, type QuantizationOf } from "./lambda.ts";
import type { Optimizer } from "./optimizers.ts";
import { type StepQuantization, wholly } from "./progressive/progressive.ts";
import { matching, matchesPattern } from "../platform/patterns.ts";
import type { Parameter } from "../tensor/index.ts";
import { selectParameters } from "./parameter-selector.ts";
import type { TrainableModel } from "./trainable-model.ts";

/** Why training ended. A callback may have a reason of its own: a word or two for people, such as "pruned". */
export type StopReason = "finished" | "early-stopping" | "interrupted" | (string & {});

export interface Controls {
  /** Multiplies the schedule's learning rate; 1 at the start. Not negative. */
  learningRateScale: number;
  /**
   * Multiplies the learning rate of the parameters that a pattern or a role (`role:ternary`) names, beside `learningRateScale`;
   * null: as before. Of several that name a parameter the last set wins.
   *
   * @throws UsageError where it names none, for a scale below 0, or an optimizer with one rate for all
   */
  scaleLearningRate(parameters: string, scale: number | null): void;
  /** The gradient is scaled down to this norm; null: as it comes. At the start, the run's. */
  clipNorm: number | null;
  /**
   * How far the layers that a pattern names (patterns.ts) are quantized, 0 to 1, by their own quantizers, whatever
   * `train.progressive` says; null: as it says again. Of several patterns the last set wins.
   *
   * @throws UsageError for a pattern that names no ternary layer
   */
  setLambda(pattern: string, lambda: number | null): void;
  /** Freezes the parameters that a pattern names. @throws UsageError where it names none, or none would be left */
  freeze(pattern: string): void;
  /** And lets them train again, from optimiser state that begins anew. */
  unfreeze(pattern: string): void;
  /** Of a `gradients` event alone: nothing is updated in this step. */
  skipUpdate(reason: string): void;
  /** Whether there is a checkpoint to go back to. */
  readonly canRollBack: boolean;
  /** How often this run has gone back. */
  readonly rollBacks: number;
  /** Asked for in this step: who saves waits. */
  readonly rollingBack: boolean;
  /**
   * Goes back to the last checkpoint when all callbacks have heard of this step: weights, optimiser, step and the callbacks'
   * state are those of then. The data goes on where it stands, so that the batches that went wrong are left out, and what
   * was set here stays.
   *
   * @throws UsageError where there is no checkpoint
   */
  rollBack(reason: string): void;
  /** Ends training after this step, with a reason of the callback's own. */
  stop(reason: StopReason): void;
}

/** Plain JSON, in TrainingState; absent there while nothing was changed and nothing is frozen. */
export interface ControlsState {
  learningRateScale?: number;
  /** Of `scaleLearningRate`, in the order in which they were set. */
  learningRateScales?: { parameters: string; scale: number }[];
  clipNorm?: number | null;
  lambdas?: { pattern: string; lambda: number }[];
  /** All of them, also those that the config froze. */
  frozen?: string[];
  rollBacks?: number;
}

/** The trainer's side. */
export interface TrainerControls extends Controls {
  /** A parameter's own scale of the learning rate; undefined: no parameter has one. */
  readonly learningRateScaleOf: ((parameter: Parameter) => number) | undefined;
  /** How layers are quantized at a step that is scheduled so (undefined: it is not); null: wholly, all of them. */
  quantizationOf(scheduled: StepQuantization | undefined): QuantizationOf | null;
  /** Opens and closes the time in which an update may be skipped; returns why it is, or null. */
  whileUpdateIsOpen(body: () => Promise<void>): Promise<string | null>;
  /** Why the run is to go back, asked once; null: it is not. */
  takeRollBack(): string | null;
  /** Done: counts it. */
  rolledBack(): void;
  state(): ControlsState | undefined;
  restore(state: ControlsState | undefined): void;
}

export function createControls(parts: {
  model: TrainableModel;
  optimizer: Optimizer;
  clipNorm: number | null;
  canRollBack(): boolean;
  stop(reason: StopReason): void;
}): TrainerControls {
  const { model, optimizer, stop } = parts;
  const { parameters } = model;
  let learningRateScale = 1;
  let scales: { parameters: string; scale: number }[] = [];
  // As scales, by parameter.
  let scaleOf = new Map<Parameter, number>();
  const setScales = (wanted: typeof scales) => {
    const found = new Map<Parameter, number>();
    for (const { parameters: selector, scale } of wanted)
      for (const parameter of selectParameters("controls.scaleLearningRate", selector, parameters))
        found.set(parameter, scale);
    scales = wanted;
    scaleOf = found;
  };
  let clipNorm: number | null | undefined;
  let lambdas: { pattern: string; lambda: number }[] = [];
  let rollBacks = 0;
  let skipReason: string | null = null;
  let updateIsOpen = false;
  let rollBackReason: string | null = null;
  return {
    get learningRateScale() {
      return learningRateScale;
    },
    set learningRateScale(scale) {
      if (!(Number.isFinite(scale) && scale >= 0))
        throw new UsageError(`controls: learningRateScale is ${scale}; expected a number from 0`);
      learningRateScale = scale;
    },
    scaleLearningRate(selector, scale) {
      if (scale !== null && !(Number.isFinite(scale) && scale >= 0))
        throw new UsageError(
          `controls: the learning rate's scale of ${selector} is ${scale}; expected a number from 0`,
        );
      if (scale !== null && !optimizer.byParameter)
        throw new UsageError(
          `controls: optimizer "${optimizer.kind}" has one learning rate for all parameters; make it by assembleOptimizer`,
        );
      selectParameters("controls.scaleLearningRate", selector, parameters);
      const others = scales.filter((entry) => entry.parameters !== selector);
      setScales(scale === null ? others : [...others, { parameters: selector, scale }]);
    },
    get learningRateScaleOf() {
      return scales.length === 0 ? undefined : (parameter: Parameter) => scaleOf.get(parameter) ?? 1;
    },
    get clipNorm() {
      return clipNorm === undefined ? parts.clipNorm : clipNorm;
    },
    set clipNorm(norm) {
      if (norm !== null && !(Number.isFinite(norm) && norm > 0))
        throw new UsageError(`controls: clipNorm is ${norm}; expected a number above 0, or null`);
      clipNorm = norm;
    },
    setLambda(pattern, lambda) {
      if (lambda !== null && !(lambda >= 0 && lambda <= 1))
        throw new UsageError(`controls: lambda is ${lambda}; expected 0 to 1, or null`);
      const layers = layerNames(model).map((name) => ({ name }));
      if (layers.length === 0) throw new UsageError("controls: this model has no ternary layers, and so no lambda");
      matching("controls.setLambda", pattern, layers);
      lambdas = lambdas.filter((entry) => entry.pattern !== pattern);
      if (lambda !== null) lambdas.push({ pattern, lambda });
    },
    freeze(pattern) {
      freeze(parameters, [pattern], "controls.freeze");
      optimizer.parametersChanged?.();
    },
    unfreeze(pattern) {
      for (const parameter of matching("controls.unfreeze", pattern, parameters)) parameter.setFrozen(false);
      optimizer.parametersChanged?.();
    },
    skipUpdate(reason) {
      if (!updateIsOpen)
        throw new UsageError("controls: skipUpdate belongs to a gradients event; the update of this step is done");
      skipReason ??= reason;
    },
    get canRollBack() {
      return parts.canRollBack();
    },
    get rollBacks() {
      return rollBacks;
    },
    get rollingBack() {
      return rollBackReason !== null;
    },
    rollBack(reason) {
      if (!parts.canRollBack())
        throw new UsageError(
          "controls: there is no checkpoint to roll back to; look at canRollBack first, and lower checkpoints.every",
        );
      rollBackReason ??= reason;
      if (updateIsOpen) skipReason ??= reason;
    },
    stop,
    quantizationOf(scheduled) {
      if (scheduled === undefined && lambdas.length === 0) return null;
      const mine = [...lambdas].reverse();
      return (layer) => mine.find(({ pattern }) => matchesPattern(pattern, layer)) ?? scheduled?.of(layer) ?? wholly;
    },
    async whileUpdateIsOpen(body) {
      updateIsOpen = true;
      skipReason = null;
      try {
        await body();
        return skipReason;
      } finally {
        updateIsOpen = false;
      }
    },
    takeRollBack() {
      const reason = rollBackReason;
      rollBackReason = null;
      return reason;
    },
    rolledBack() {
      rollBacks++;
    },
    state() {
      const frozen = frozenNames(parameters);
      const state: ControlsState = {
        ...(learningRateScale === 1 ? {} : { learningRateScale }),
        ...(scales.length === 0 ? {} : { learningRateScales: scales }),
        ...(clipNorm === undefined ? {} : { clipNorm }),
        ...(lambdas.length === 0 ? {} : { lambdas }),
        ...(frozen.length === 0 ? {} : { frozen }),
        ...(rollBacks === 0 ? {} : { rollBacks }),
      };
      return Object.keys(state).length === 0 ? undefined : structuredClone(state);
    },
    restore(state = {}) {
      learningRateScale = state.learningRateScale ?? 1;
      setScales(structuredClone(state.learningRateScales ?? []));
      clipNorm = state.clipNorm;
      lambdas = structuredClone(state.lambdas ?? []);
      rollBacks = state.rollBacks ?? 0;
      restoreFrozen(parameters, state.frozen ?? []);
      optimizer.parametersChanged?.();
    },
  };
}
