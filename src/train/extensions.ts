/**
 * What a program brings along that the lists of this package have not: optimisers, schedules and objectives that a config
 * then names like any other. Passed to `train` and to the functions of config.ts; nothing is registered globally, so a run
 * that used them is resumed by a program that passes them again.
 */
import type { ObjectiveDefinition } from "./objectives/objective.ts";
import type { OptimizerDefinition } from "./optimizers/optimizer.ts";
import type { ScheduleDefinition } from "./schedules/schedule.ts";

export interface Extensions {
  optimizers?: readonly OptimizerDefinition[];
  schedules?: readonly ScheduleDefinition[];
  objectives?: readonly ObjectiveDefinition[];
}
