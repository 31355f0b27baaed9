/**
 * What a schedule is: learning rate and weight decay as a pure function of the step, so that a resumed run needs no state
 * of it. One file beside this for each; ../schedules.ts lists them.
 *
 * Steps count from 1 to N. With W warm-up steps and peak P, step s <= W has P * s / W; after it each schedule has a share
 * of P for p(s) = (s - W) / (N - W): 0 at the end of the warm-up, 1 at the last step.
 */
import { z } from "zod";

export interface ScheduledValues {
  learningRate: number;
  weightDecay: number;
}

export type Schedule = (step: number) => ScheduledValues;

/** A schedule as a config can name it. */
export interface ScheduleDefinition<Config = never> {
  readonly kind: string;
  /** Strict, with `kind: z.literal(kind)`, `scheduleKeys` and keys of its own. */
  readonly schema: z.ZodObject;
  /** All its values but the kind, where a config switches to it. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Warm-up steps of a run of `steps` where the config says "auto"; absent: `autoWarmup`. */
  autoWarmupSteps?(steps: number): number;
  /**
   * @param config warm-up already a number, at most `steps`
   * @param peak   learning rate and weight decay at their highest
   * @param steps  N, the whole run
   */
  create(config: Config, peak: ScheduledValues, steps: number): Schedule;
}

export const scheduleKeys = {
  /** Steps of rising learning rate; "auto": a twentieth of the run, at most 375, and none for a constant rate. */
  warmupSteps: z.union([z.int().min(0), z.literal("auto")]),
};

/** Learning rate of the last step as a share of the peak. */
export const finalFraction = z.number().min(0).max(1);

/** 375 steps as the paper's authors have (their runs have 95,000 steps and more), but at most a twentieth of the run. */
export const autoWarmup = (steps: number): number => Math.min(375, Math.ceil(steps / 20));

/** The share of the peak at a step: rising in the warm-up, then as `after` says of the progress p. */
export function warmedUp(
  { warmupSteps, steps }: { warmupSteps: number; steps: number },
  after: (progress: number) => number,
): (step: number) => number {
  return (step) => {
    if (step <= warmupSteps) return step / warmupSteps;
    // A resumed run may be shorter than where it stands; it then ends at once, but the rate stays in range.
    return after(Math.min(1, (step - warmupSteps) / (steps - warmupSteps)));
  };
}
