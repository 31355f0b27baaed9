/**
 * Frozen parameters: no gradient is computed for them, they have no optimiser state, and their weights stay as they are to
 * the bit. Done before the optimiser is made, and by controls.ts in the middle of a run.
 */
import { UsageError } from "../platform/errors.ts";
import type { Parameter } from "../tensor/index.ts";
import { matching } from "../platform/patterns.ts";

/** Freezes what the patterns name. @throws UsageError for a pattern that names nothing, or where nothing is left to train */
export function freeze(parameters: readonly Parameter[], patterns: readonly string[], what = "train.freeze"): void {
  const chosen = new Set(patterns.flatMap((pattern) => matching(what, pattern, parameters)));
  if (parameters.every((parameter) => parameter.frozen || chosen.has(parameter)))
    throw new UsageError(`${what}: ${patterns.join(", ")} would leave nothing to train`);
  for (const parameter of chosen) parameter.setFrozen(true);
}

export const frozenNames = (parameters: readonly Parameter[]): string[] =>
  parameters.filter(({ frozen }) => frozen).map(({ name }) => name);

/**
 * Freezes exactly these: for a run that goes on from a saved state, before its optimiser's tensors are read back.
 *
 * @throws UsageError for a name that the model has not
 */
export function restoreFrozen(parameters: readonly Parameter[], names: readonly string[]): void {
  const wanted = new Set(names);
  for (const parameter of parameters) {
    const frozen = wanted.delete(parameter.name);
    if (frozen !== parameter.frozen) parameter.setFrozen(frozen);
  }
  const [unknown] = wanted;
  if (unknown !== undefined)
    throw new UsageError(
      `training: the saved state has ${unknown} frozen, which this model has not; resume the same model`,
    );
}
