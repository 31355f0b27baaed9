/**
 * The optimisers that a config can name, one line each, and what is done with any of them by its kind. A new one is a file
 * in optimizers/ and a line here; extensions add theirs to `optimizerKinds`. Called by train.ts and cli/.
 */
import { UsageError } from "../platform/errors.ts";
import type { Parameter, ParameterRole, Runtime } from "../tensor/index.ts";
import { adamw } from "./optimizers/adamw.ts";
import { adamw8bit } from "./optimizers/adamw-8bit.ts";
import { muon } from "./optimizers/muon.ts";
import { type Optimizer, type OptimizerDefinition, plainSettings } from "./optimizers/optimizer.ts";
import { sgd } from "./optimizers/sgd.ts";
import { KindList } from "./registry.ts";

export const optimizers = [adamw, adamw8bit, sgd, muon] as const;
export const optimizerKinds = new KindList<OptimizerDefinition>("optimizer", "kind", optimizers);

export { type AdamWSettings, createAdamW } from "./optimizers/adamw.ts";
export { createAdamW8bit } from "./optimizers/adamw-8bit.ts";
export { createMuon, type MuonSettings } from "./optimizers/muon.ts";
export {
  assembleOptimizer,
  cautiousKey,
  clipScale,
  type DecaySettings,
  gradientNorm,
  gradientSquares,
  type Multiplier,
  type NamedTensor,
  normOf,
  type Optimizer,
  type OptimizerDefinition,
  type OptimizerRule,
  optimizerKeys,
  plainSettings,
  type StepValues,
  sumsOfSquares,
  type UpdateValues,
  withParameters,
} from "./optimizers/optimizer.ts";
export { createSgd, type SgdSettings } from "./optimizers/sgd.ts";

type ChoiceOf<D> = D extends { kind: infer K; create(r: Runtime, p: readonly Parameter[], config: infer C): Optimizer }
  ? { kind: K } & NonNullable<C>
  : never;

/** An optimiser by its kind, with its settings. */
export type OptimizerChoice = ChoiceOf<(typeof optimizers)[number]>;

const definitionOf = (config: { kind: string }): OptimizerDefinition =>
  optimizerKinds.get(config.kind, "optimizer.kind");

/** The optimiser that a config names; its schedule and clipping are the trainer's. Call outside scopes. */
export function createOptimizer(
  runtime: Runtime,
  parameters: readonly Parameter[],
  config: OptimizerChoice,
): Optimizer {
  const optimizer = definitionOf(config).create(runtime, parameters, config as never);
  // A checkpoint says which it holds the state of.
  if (optimizer.kind !== config.kind)
    throw new UsageError(
      `optimizer: "${config.kind}" made an optimizer of kind "${optimizer.kind}"; both must be the same`,
    );
  const { multipliers, latentClip } = { ...plainSettings, ...config };
  const applied = optimizer.byParameter ?? plainSettings;
  for (const [key, wanted, done] of [
    ["multipliers", multipliers, applied.multipliers],
    ["latentClip", latentClip, applied.latentClip],
  ] as const)
    if (JSON.stringify(wanted) !== JSON.stringify(done))
      throw new UsageError(
        `optimizer.${key}: optimizer "${config.kind}" does not apply it; leave it out, or make the optimizer by assembleOptimizer with the whole config`,
      );
  return optimizer;
}

/** Bytes of state that the optimiser keeps for one parameter of `count` values. */
export function optimizerStateBytes(
  config: OptimizerChoice,
  parameter: { role: ParameterRole; count: number },
): number {
  return definitionOf(config).stateBytes(config as never, parameter);
}
