/**
 * Parts that users write outside this package: quantizers, estimators, objectives, optimizers, schedules, kinds of
 * progressive quantization, callbacks, tasks, filters. An extension is an object of such
 * parts. `useExtension` adds one to this thread; `loadExtensions` loads modules that export one as `default`, which worker
 * threads can load too. Afterwards each part has its name in configs and on the command line, as ours have.
 */
import { type FilterKind, registerFilter } from "../corpus/index.ts";
import { type LikelihoodTask, registerTask } from "../eval/index.ts";
import {
  type ActivationQuantizer,
  activationQuantizers,
  type Estimator,
  estimators,
  type WeightQuantizer,
  weightQuantizers,
} from "../nn/index.ts";
import { UsageError } from "../platform/errors.ts";
import { absolutePath, importModule } from "../platform/modules.ts";
import { setUpEveryWorker } from "../platform/workers.ts";
import { type CallbackDefinition, callbackKinds } from "../train/callbacks.ts";
import { objectiveKinds } from "../train/objectives.ts";
import type { ObjectiveDefinition } from "../train/objectives/objective.ts";
import { type OptimizerDefinition, optimizerKinds } from "../train/optimizers.ts";
import { type ProgressiveDefinition, progressiveKinds } from "../train/progressive.ts";
import { type ScheduleDefinition, scheduleKinds } from "../train/schedules.ts";

// What authors of parts need besides, from one door (`bitnet.ts/extensions`).
export { type Backend, defineKernel, type Kernel, type NDArray } from "../backends/index.ts";
export { defineFilter, type FilterKind, type Stage } from "../corpus/index.ts";
export {
  type ChoiceItem,
  choiceItem,
  choicesField,
  goldField,
  type LikelihoodTask,
  type TaskRow,
  textField,
} from "../eval/index.ts";
export type {
  ActivationQuantizer,
  Estimator,
  LearnedParameter,
  MatrixShape,
  ModelScale,
  TernaryQuantizer,
  TernaryWeight,
  ValueQuantizer,
  WeightQuantizer,
  WeightValues,
} from "../nn/index.ts";
export type { BackwardContext, Op, OpContext } from "../ops/op.ts";
export type { Runtime, Tensor } from "../tensor/index.ts";
export { type CallbackDefinition, defineCallback } from "../train/callbacks.ts";
export type { Callback, LayerValues, Training, TrainingEvent } from "../train/events.ts";
export {
  defineObjective,
  type Objective,
  type ObjectiveDefinition,
  type StepForward,
} from "../train/objectives/objective.ts";
export {
  assembleOptimizer,
  cautiousKey,
  type DecaySettings,
  type Optimizer,
  type OptimizerDefinition,
  type NamedTensor,
  optimizerKeys,
  type UpdateValues,
} from "../train/optimizers.ts";
export {
  type Moment,
  momentSchema,
  type ProgressiveDefinition,
  type ProgressiveQuantization,
  type ProgressiveRun,
  ramp,
  rampDefaults,
  rampKeys,
  type StepQuantization,
  stepsOf,
} from "../train/progressive.ts";
export { type Schedule, type ScheduleDefinition, scheduleKeys, warmedUp } from "../train/schedules.ts";
/** The zod that schemas of settings are made with. */
export { z } from "zod";

/** Parts by kind; each list may be left out. */
export interface Extension {
  weightQuantizers?: readonly WeightQuantizer[];
  activationQuantizers?: readonly ActivationQuantizer[];
  // biome-ignore lint/suspicious/noExplicitAny: estimators of any settings; their schema checks them.
  estimators?: readonly Estimator<any>[];
  /** Of `train.objectives`, by name. */
  objectives?: readonly ObjectiveDefinition[];
  /** Of `optimizer.kind`. */
  optimizers?: readonly OptimizerDefinition[];
  /** Of `schedule.kind`. */
  schedules?: readonly ScheduleDefinition[];
  /** Of `train.progressive.kind`. */
  progressives?: readonly ProgressiveDefinition[];
  /** Of `train.callbacks`, by name. */
  callbacks?: readonly CallbackDefinition[];
  /** Tasks of `bitnet eval --task`. */
  tasks?: readonly LikelihoodTask[];
  /** Filters of `bitnet data prepare` and `bitnet data filter`. */
  filters?: readonly FilterKind[];
}

interface Origin {
  /** Whether worker threads load the extension too, and so can make its parts. */
  inWorkers: boolean;
}

/** Adds a part; what it returns takes it out again. */
type Adder<K extends keyof Extension> = (part: NonNullable<Extension[K]>[number], origin: Origin) => () => void;

/** How each kind of part is added. */
const adders: { [K in keyof Required<Extension>]: Adder<K> } = {
  weightQuantizers: (part) => weightQuantizers.register(part),
  activationQuantizers(part) {
    // Layers of int8 codes have them from kernels that are absmax8's, and would pass this op over.
    if (part.codes !== null)
      throw new UsageError(
        `activation quantizer "${part.name}": codes is ${JSON.stringify(part.codes)}, which is absmax8's alone; set codes: null`,
      );
    return activationQuantizers.register(part);
  },
  estimators: (part) => estimators.register(part),
  objectives: (part) => objectiveKinds.register(part),
  optimizers: (part) => optimizerKinds.register(part),
  schedules: (part) => scheduleKinds.register(part),
  progressives: (part) => progressiveKinds.register(part),
  callbacks: (part) => callbackKinds.register(part),
  tasks: registerTask,
  filters: (part, { inWorkers }) => registerFilter(part, inWorkers),
};
const kinds = Object.keys(adders) as (keyof Extension)[];
/** Definitions of training, whose name is their `kind`. */
const namedByKind: readonly (keyof Extension)[] = [
  "objectives",
  "optimizers",
  "schedules",
  "progressives",
  "callbacks",
];

/**
 * Adds an extension's parts: all of them, or none where one is refused. A filter added so is run in this thread alone, since
 * worker threads do not know it.
 *
 * @throws UsageError for an unknown kind of part, or a name that is taken
 */
export function useExtension(extension: Extension): void {
  add(extension, "extension", { inWorkers: false });
}

const loaded = new Set<string>();

/**
 * Loads modules whose default export is an extension and adds their parts, in this thread and in every worker thread that is
 * started later; one that is loaded already is left out.
 *
 * @throws FileError for a file that is not there; UsageError for one that is no module or exports no extension
 */
export async function loadExtensions(paths: readonly string[]): Promise<void> {
  for (const path of paths.map(absolutePath)) {
    if (loaded.has(path)) continue;
    const { default: extension } = await importModule(path);
    // Another call may have loaded it meanwhile.
    if (loaded.has(path)) continue;
    add(extension, path, { inWorkers: true });
    loaded.add(path);
    setUpEveryWorker({ url: import.meta.url, value: [...loaded] });
  }
}

/** What worker threads call first (platform/workers.ts). */
export const setUpWorker = loadExtensions;

function add(extension: unknown, where: string, origin: Origin): void {
  if (typeof extension !== "object" || extension === null)
    throw new UsageError(
      `${where}: exports no extension; expected "export default { ... }" with some of: ${kinds.join(", ")}`,
    );
  const unknown = Object.keys(extension).find((key) => !kinds.includes(key as keyof Extension));
  if (unknown !== undefined)
    throw new UsageError(`${where}: unknown kind of part "${unknown}"; kinds are: ${kinds.join(", ")}`);
  const undo: (() => void)[] = [];
  try {
    for (const kind of kinds) {
      const parts = (extension as Extension)[kind] ?? [];
      if (!Array.isArray(parts)) throw new UsageError(`${where}: ${kind} is ${typeof parts}; expected a list`);
      for (const part of parts) {
        const key = namedByKind.includes(kind) ? "kind" : "name";
        if (typeof part?.[key] !== "string" || part[key] === "")
          throw new UsageError(`${where}: a part of ${kind} has no ${key}; expected a "${key}" of its own`);
        undo.push((adders[kind] as (part: unknown, origin: Origin) => () => void)(part, origin));
      }
    }
  } catch (error) {
    for (const takeOut of undo.reverse()) takeOut();
    throw error;
  }
}
