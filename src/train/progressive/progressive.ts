/**
 * What progressive quantization is: how far and in which form each layer is quantized at a step, as a pure function of the
 * step, so that a resumed run needs no state of it. One file beside this for each kind; ../progressive.ts lists them.
 *
 * Steps count from 1 to N. A moment of a config is a number of steps (`300`) or a share of the run (`"30%"`). A ramp from
 * moment S to moment E has the progress t(s) = (s - 1 - S) / (E - S), between 0 and 1: step S + 1 is the last at 0, and step
 * E + 1 the first at 1.
 */
import { z } from "zod";
import type { LayerQuantization } from "../../nn/index.ts";
import { UsageError } from "../../platform/errors.ts";

/** Quantization of one step: all that the trainer asks. */
export interface StepQuantization {
  /** How a layer is quantized, by its name. */
  of(layer: string): LayerQuantization;
  /** More numbers of the step, by their key in metrics/scalars.jsonl. */
  readonly metrics?: Readonly<Record<string, number>>;
}

export interface ProgressiveQuantization {
  /** @param step from 1 */
  at(step: number): StepQuantization;
  /** The step at which the schedule of the learning rate stands at a step; absent: at that step. */
  scheduleStep?(step: number): number;
}

/** The run, as a kind knows it. */
export interface ProgressiveRun {
  /** N */
  steps: number;
  /** Of the schedule of the learning rate. */
  warmupSteps: number;
  /** Names of the layers that quantize, in the model's order, such as `model.layers.0.self_attn.q_proj`. */
  layers: readonly string[];
}

/** A kind as a config can name it: `train.progressive.kind`. */
export interface ProgressiveDefinition<Config = never> {
  readonly kind: string;
  /** Strict, with `kind: z.literal(kind)` and keys of its own. */
  readonly schema: z.ZodObject;
  /** All its values but the kind, where a config switches to it. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** @throws UsageError for moments that are out of order, or layers that are not there */
  create(config: Config, run: ProgressiveRun): ProgressiveQuantization;
}

export const wholly: LayerQuantization = { lambda: 1 };

/** A number of steps, or a share of the run. */
export type Moment = number | string;

const share = /^(\d+(?:\.\d+)?)%$/;

export const momentSchema = z.custom<Moment>(
  (value) =>
    typeof value === "string"
      ? Number(share.exec(value)?.[1] ?? Number.NaN) <= 100
      : Number.isSafeInteger(value) && (value as number) >= 0,
  { error: 'expected a whole number of steps such as 300, or a share of the run such as "30%"' },
);

/**
 * A moment in steps. A share is rounded to whole steps, and to N - 1 at most: of "100%" the last step is the first beyond it.
 */
export function stepsOf(moment: Moment, { steps }: Pick<ProgressiveRun, "steps">): number {
  if (typeof moment === "number") return moment;
  return Math.min(Math.round((Number(share.exec(moment)![1]) / 100) * steps), Math.max(0, steps - 1));
}

export const rampKeys = {
  /** Until then nothing is quantized. */
  start: momentSchema,
  /** From then on everything is. */
  end: momentSchema,
};

export interface RampConfig {
  start: Moment;
  end: Moment;
}

// Hestia's best share of four (arXiv:2601.20745).
export const rampDefaults = { start: 0, end: "30%" } as const;

/**
 * The progress t of a ramp.
 *
 * @param keys what the moments are called in messages
 * @throws UsageError where the end comes before the start
 */
export function progressOf(
  { start, end }: RampConfig,
  run: Pick<ProgressiveRun, "steps">,
  keys: { start: string; end: string } = { start: "start", end: "end" },
): (step: number) => number {
  const [S, E] = [stepsOf(start, run), stepsOf(end, run)];
  if (E < S)
    throw new UsageError(
      `train.progressive: ${keys.end} (${end}: ${E} steps) comes before ${keys.start} (${start}: ${S} steps) in a run of ${run.steps} steps; raise ${keys.end} or lower ${keys.start}`,
    );
  return (step) => (step - 1 >= E ? 1 : Math.max(0, (step - 1 - S) / (E - S)));
}

/** All layers at one lambda: a function of the progress with f(0) = 0 and f(1) = 1. */
export function ramp(
  config: RampConfig,
  run: ProgressiveRun,
  lambdaAt: (progress: number) => number = (t) => t,
): ProgressiveQuantization {
  const progress = progressOf(config, run);
  return {
    at(step) {
      const t = progress(step);
      const all = t >= 1 ? wholly : { lambda: t <= 0 ? 0 : lambdaAt(t) };
      return { of: () => all };
    },
  };
}
