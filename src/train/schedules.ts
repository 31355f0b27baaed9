/**
 * Schedules: learning rate and weight decay as pure functions of the step, so that a resumed run needs no state of them.
 *
 * Steps count from 1 to N. With W warm-up steps and peak P, step s <= W has P * s / W; after it
 *   p(s) = (s - W) / (N - W)     0 at the end of the warm-up, 1 at the last step
 *   constant    P
 *   linear      P * (1 - (1 - f) * p)                        f: the final fraction of the peak
 *   cosine      P * (f + (1 - f) * (1 + cos(pi * p)) / 2)
 *   two-stage   linear, and from the step after the midpoint N / 2 on times the second stage's fraction; weight decay 0
 *               from there ("The Era of 1-bit LLMs: Training Tips, Code and FAQ": one linear decay to 0 whose peak is
 *               swapped for a lower one half-way, so that the rate falls at once by a third and then goes on falling)
 */
import { UsageError } from "../platform/errors.ts";

export type ScheduleConfig =
  | { kind: "constant"; warmupSteps: number }
  | { kind: "cosine" | "linear"; warmupSteps: number; finalFraction: number }
  | {
      kind: "two-stage";
      warmupSteps: number;
      finalFraction: number;
      secondStageFraction: number;
      secondStageWeightDecay: number;
    };

export interface ScheduledValues {
  learningRate: number;
  weightDecay: number;
}

export type Schedule = (step: number) => ScheduledValues;

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
  return (step) => {
    const second = config.kind === "two-stage" && step * 2 > steps;
    return {
      learningRate: peak.learningRate * shape(config, step, steps) * (second ? config.secondStageFraction : 1),
      weightDecay: second ? config.secondStageWeightDecay : peak.weightDecay,
    };
  };
}

/** The share of the peak at a step, stages aside. */
function shape(config: ScheduleConfig, step: number, steps: number): number {
  const { warmupSteps } = config;
  if (step <= warmupSteps) return step / warmupSteps;
  if (config.kind === "constant") return 1;
  // A resumed run may be shorter than where it stands; it then ends at once, but the rate stays in range.
  const progress = Math.min(1, (step - warmupSteps) / (steps - warmupSteps));
  const falling = config.kind === "cosine" ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - progress;
  return config.finalFraction + (1 - config.finalFraction) * falling;
}

/**
 * How far quantisation is let in at a step, for a full-precision model that becomes a ternary one ("Fine-tuning LLMs to
 * 1.58bit", Hugging Face 2024): lambda = min((s - 1) / R, 1), so that the first step's model is the one that it began with.
 *
 * @param rampSteps R; 0: whole from the first step on, and no function
 */
export function createQuantRamp(rampSteps: number): ((step: number) => number) | undefined {
  return rampSteps === 0 ? undefined : (step) => Math.min(1, (step - 1) / rampSteps);
}

/**
 * Warm-up steps when the config says "auto": the 375 of the paper's authors (their runs have 95,000 steps and more), but
 * at most a twentieth of the run; none for a constant rate.
 */
export function autoWarmupSteps(kind: ScheduleConfig["kind"], steps: number): number {
  return kind === "constant" ? 0 : Math.min(375, Math.ceil(steps / 20));
}
