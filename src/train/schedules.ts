/**
 * The schedules that a config can name, one line each; schedules/schedule.ts says what one is. A new one is a file in
 * schedules/ and a line here; extensions add theirs to `scheduleKinds`.
 */
import { UsageError } from "../platform/errors.ts";
import { KindList } from "./registry.ts";
import { constant } from "./schedules/constant.ts";
import { cosine } from "./schedules/cosine.ts";
import { linear } from "./schedules/linear.ts";
import { autoWarmup, type Schedule, type ScheduleDefinition, type ScheduledValues } from "./schedules/schedule.ts";
import { twoStage } from "./schedules/two-stage.ts";
import { wsd } from "./schedules/wsd.ts";

export const schedules = [constant, cosine, linear, twoStage, wsd] as const;
export const scheduleKinds = new KindList<ScheduleDefinition>("schedule", "kind", schedules);

export {
  type Schedule,
  type ScheduleDefinition,
  type ScheduledValues,
  scheduleKeys,
  warmedUp,
} from "./schedules/schedule.ts";

/** A schedule by its kind, with its settings, warm-up already a number. */
export type ScheduleConfig = ConfigOf<(typeof schedules)[number]>;

type ConfigOf<D> = D extends { create(config: infer C, peak: ScheduledValues, steps: number): Schedule } ? C : never;

const definitionOf = (kind: string): ScheduleDefinition => scheduleKinds.get(kind, "schedule.kind");

/**
 * @param config  which schedule, warm-up already a number
 * @param peak    learning rate and weight decay at their highest
 * @param steps   N, the whole run
 * @throws UsageError if the warm-up is longer than the run
 */
export function createSchedule(config: ScheduleConfig, peak: ScheduledValues, steps: number): Schedule {
  const { warmupSteps } = config;
  if (warmupSteps > steps)
    throw new UsageError(
      `schedule: ${warmupSteps} warm-up steps do not fit a run of ${steps}; lower schedule.warmupSteps`,
    );
  return definitionOf(config.kind).create(config as never, peak, steps);
}

/** Warm-up steps when the config says "auto". */
export function autoWarmupSteps(kind: string, steps: number): number {
  return (definitionOf(kind).autoWarmupSteps ?? autoWarmup)(steps);
}
