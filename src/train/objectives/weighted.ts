/**
 * The losses of one micro-batch as one: each objective's loss times its weight at this step, added up. One plain next-token
 * loss of weight 1 is that loss itself, with nothing around it. Called by the trainer.
 */
import { sizeOf } from "../../ops/op.ts";
import { weightedSum } from "../../ops/weighted-sum/index.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import { checkTargets, type TargetSummary } from "../targets.ts";
import type { TrainableModel } from "../trainable-model.ts";
import type { Objective, ObjectiveBatch, StepForward, WantedState } from "./objective.ts";
import { StateHolder } from "./states.ts";

export interface WeightedObjective {
  objective: Objective;
  /** A function of the step, from 1, where it changes; at 0 the objective is left out of the step. */
  weight: number | ((step: number) => number);
}

export interface StepLoss {
  /** [1]: what the gradient is of. */
  loss: Tensor;
  /** Each objective's own loss before its weight, and its parts; none of a plain next-token loss. */
  parts: Record<string, Tensor>;
}

/** @throws UsageError for no objective, or two of one name */
export function checkObjectives(objectives: readonly WeightedObjective[]): void {
  const names = objectives.map(({ objective }) => objective.name);
  if (names.length === 0) throw new UsageError("training: there is no objective; give at least one");
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UsageError(`training: two objectives are named "${twice}"; metrics name them apart, so must you`);
}

/** The next-token loss of a step that has one: of that name, or a part of that name. */
export function nextTokenLoss(parts: Readonly<Record<string, number>>): number | undefined {
  const key = Object.keys(parts).find((name) => name === "next-token" || name.endsWith(".next-token"));
  return key === undefined ? undefined : parts[key];
}

/** Inside `runtime.gradient`. @throws UsageError where every weight is 0 at this step */
export function stepLoss(
  { runtime, model, step }: { runtime: Runtime; model: TrainableModel; step: number },
  objectives: readonly WeightedObjective[],
  batch: ObjectiveBatch,
  summary: TargetSummary,
): StepLoss {
  const weightOf = ({ objective, weight }: WeightedObjective) => {
    const now = typeof weight === "number" ? weight : weight(step);
    if (!(now >= 0 && Number.isFinite(now)))
      throw new UsageError(
        `objective "${objective.name}": its weight at step ${step} is ${now}; expected a number from 0`,
      );
    return now;
  };
  const wanted = objectives.flatMap((one) => (weightOf(one) === 0 ? [] : (one.objective.wants ?? [])));
  const shared = shareForward({ runtime, model, step }, batch, { summary, wanted });
  const names: string[] = [];
  try {
    const [loss, ...parts] = runtime.scope(() => {
      const losses: Tensor[] = [];
      const weights: number[] = [];
      const logged: Tensor[] = [];
      for (const one of objectives) {
        const { objective } = one;
        const now = weightOf(one);
        if (now === 0) continue;
        const { loss, parts = {} } = objective.loss(model, batch, shared.forward);
        if (sizeOf(loss.shape) !== 1)
          throw new ShapeError(`objective "${objective.name}": its loss is [${loss.shape}]; expected one number`);
        losses.push(loss);
        weights.push(now);
        logged.push(loss, ...Object.values(parts));
        names.push(objective.name, ...Object.keys(parts).map((part) => `${objective.name}.${part}`));
      }
      if (losses.length === 0) throw new UsageError(`training: every objective has weight 0 at step ${step}`);
      if (losses.length > 1 || weights[0] !== 1) return [runtime.apply(weightedSum, losses, { weights }), ...logged];
      const plain = objectives.length === 1 && names.length === 1 && names[0] === "next-token";
      return plain ? [losses[0]] : [losses[0], ...logged];
    });
    return { loss, parts: Object.fromEntries(parts.map((part, i) => [names[i], part])) };
  } finally {
    shared.release();
  }
}

/** Logits, states and targets, made when first asked for and held until `release`, in whatever scope that is. */
function shareForward(
  { runtime, model, step }: { runtime: Runtime; model: TrainableModel; step: number },
  batch: ObjectiveBatch,
  { summary, wanted }: { summary: TargetSummary; wanted: readonly WantedState[] },
): { forward: StepForward; release(): void } {
  const states = new StateHolder(wanted);
  let logits: Tensor | undefined;
  let targets: Tensor | undefined;
  const hold = (tensor: Tensor): Tensor => {
    tensor.storage.retain();
    return tensor;
  };
  const forward: StepForward = {
    runtime,
    step,
    logits: () => (logits ??= hold(model.logits(wanted.length === 0 ? batch : { ...batch, tap: states.tap }))),
    state(kind, layer) {
      forward.logits();
      return states.get(kind, layer);
    },
    targets() {
      if (targets) return targets;
      const { shape } = forward.logits();
      checkTargets(summary, shape[shape.length - 1]);
      targets = hold(runtime.upload([batch.batch, batch.length], "i32", batch.targets));
      return targets;
    },
  };
  return {
    forward,
    release() {
      logits?.storage.release();
      states.release();
      targets?.storage.release();
    },
  };
}
