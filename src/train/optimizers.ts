/**
 * The optimisers that a config can name, one line each, and what is done with any of them by its kind. A new one is a file
 * in optimizers/ and a line here; extensions add theirs to `optimizerKinds`. Called by train.ts and cli/.
 */
import { UsageError } from "../platform/errors.ts";
import type { Parameter, ParameterRole, Runtime } from "../tensor/index.ts";
import { adamw } from "./optimizers/adamw.ts";
import { adamw8bit } from "./optimizers/adamw-8bit.ts";
import type { Optimizer, OptimizerDefinition } from "./optimizers/optimizer.ts";
import { sgd } from "./optimizers/sgd.ts";
import { KindList, kindOf } from "./registry.ts";

export const optimizers = [adamw, adamw8bit, sgd] as const;
export const optimizerKinds = new KindList<OptimizerDefinition>("optimizer", "kind", optimizers);

export { type AdamWSettings, createAdamW } from "./optimizers/adamw.ts";
export { createAdamW8bit } from "./optimizers/adamw-8bit.ts";
export {
  assembleOptimizer,
  clipScale,
  type DecaySettings,
  gradientNorm,
  gradientSquares,
  type NamedTensor,
  normOf,
  type Optimizer,
  type OptimizerDefinition,
  type OptimizerRule,
  optimizerKeys,
  type StepValues,
  sumsOfSquares,
  withParameters,
} from "./optimizers/optimizer.ts";
export { createSgd, type SgdSettings } from "./optimizers/sgd.ts";

type ChoiceOf<D> = D extends { kind: infer K; create(r: Runtime, p: readonly Parameter[], config: infer C): Optimizer }
  ? { kind: K } & NonNullable<C>
  : never;

/** An optimiser by its kind, with its settings. */
export type OptimizerChoice = ChoiceOf<(typeof optimizers)[number]>;

const definitionOf = (config: { kind: string }): OptimizerDefinition =>
  kindOf("optimizer.kind", config.kind, optimizerKinds.all);

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
  return optimizer;
}

/** Bytes of state that the optimiser keeps for one parameter of `count` values. */
export function optimizerStateBytes(
  config: OptimizerChoice,
  parameter: { role: ParameterRole; count: number },
): number {
  return definitionOf(config).stateBytes(config as never, parameter);
}
