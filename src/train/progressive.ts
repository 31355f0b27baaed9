/**
 * The kinds of progressive quantization that a config can name (`train.progressive.kind`), one line each;
 * progressive/progressive.ts says what one is. A new one is a file in progressive/ and a line here; extensions add theirs to
 * `progressiveKinds`. The older key `train.quantRampSteps` is resolved here, to kind linear.
 */
import { UsageError } from "../platform/errors.ts";
import { annealed } from "./progressive/annealed.ts";
import { bits } from "./progressive/bits.ts";
import { cosine } from "./progressive/cosine.ts";
import { exponential } from "./progressive/exponential.ts";
import { fullFirst } from "./progressive/full-first.ts";
import { layerwise } from "./progressive/layerwise.ts";
import { linear } from "./progressive/linear.ts";
import type { ProgressiveDefinition, ProgressiveQuantization, ProgressiveRun } from "./progressive/progressive.ts";
import { sigmoid } from "./progressive/sigmoid.ts";
import { KindList } from "./registry.ts";

export const progressives = [linear, cosine, exponential, sigmoid, layerwise, bits, fullFirst, annealed] as const;
export const progressiveKinds = new KindList<ProgressiveDefinition>("progressive quantization", "kind", progressives);

export {
  type Moment,
  momentSchema,
  type ProgressiveDefinition,
  type ProgressiveQuantization,
  type ProgressiveRun,
  type RampConfig,
  ramp,
  rampDefaults,
  rampKeys,
  type StepQuantization,
  stepsOf,
} from "./progressive/progressive.ts";

/** A kind with its settings. */
export type ProgressiveConfig = ConfigOf<(typeof progressives)[number]>;

type ConfigOf<D> = D extends { create(config: infer C, run: ProgressiveRun): ProgressiveQuantization } ? C : never;

interface Chosen {
  readonly progressive: ProgressiveConfig | null;
  readonly quantRampSteps: number;
}

/** What a config asks for, whichever way it is spelled; null: every layer is quantized wholly, always. */
export function progressiveOf({ progressive, quantRampSteps }: Chosen): ProgressiveConfig | null {
  return progressive ?? (quantRampSteps > 0 ? { kind: "linear", start: 0, end: quantRampSteps } : null);
}

/** The key that asks for it, for messages. */
const keyOf = ({ progressive, quantRampSteps }: Chosen): string =>
  progressive ? `train.progressive (${progressive.kind})` : `train.quantRampSteps ${quantRampSteps}`;

/** In a difference to a config, either key takes the place of the other. */
export function replaceProgressive(merged: Record<string, unknown>, over: Record<string, unknown>): void {
  const { progressive, quantRampSteps } = over;
  if (progressive !== undefined && progressive !== null) merged.quantRampSteps = 0;
  else if (typeof quantRampSteps === "number" && quantRampSteps > 0) merged.progressive = null;
}

/** @throws UsageError where both keys ask for something, or nothing would be quantized */
export function checkProgressiveChoice(chosen: Chosen, allFloat: boolean): void {
  if (chosen.progressive && chosen.quantRampSteps > 0)
    throw new UsageError(
      `train.quantRampSteps is ${chosen.quantRampSteps} beside train.progressive (${chosen.progressive.kind}); keep one of them`,
    );
  if (progressiveOf(chosen) && allFloat)
    throw new UsageError(
      `${keyOf(chosen)} is there, but a full-precision model is not quantized; set model.variant to bitnet, or leave it out`,
    );
}

/** @throws UsageError for a kind that is not there, moments out of order, or layers that are not there */
export function createProgressive(config: ProgressiveConfig, run: ProgressiveRun): ProgressiveQuantization {
  return progressiveKinds.get(config.kind, "train.progressive.kind").create(config as never, run);
}

/**
 * A run must end with every layer quantized wholly: that is the model that is saved, and its last steps must have trained it.
 *
 * @throws UsageError where the last step leaves a layer short of it
 */
export function checkWhollyQuantized(
  chosen: Chosen,
  quantization: ProgressiveQuantization,
  { steps, layers }: ProgressiveRun,
): void {
  if (steps === 0) return;
  const last = quantization.at(steps);
  const short = layers.find((layer) => !(last.of(layer).lambda === 1 && last.of(layer).standIn === undefined));
  if (short === undefined) return;
  const { lambda } = last.of(short);
  const state = lambda === 1 ? "not yet by its own quantizer" : `at lambda ${Number(lambda.toPrecision(3))}`;
  throw new UsageError(
    `${keyOf(chosen)}: at the last step, ${steps}, ${short} is ${state}, and training must end with lambda 1; let it end by step ${steps - 1}, or train for more steps`,
  );
}
