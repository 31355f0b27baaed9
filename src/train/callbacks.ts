/**
 * The callbacks that a config can name in `train.callbacks`, one line each: a new one is a file in callbacks/ and a line here,
 * and extensions add theirs. Those that belong to every run (metrics, evaluation, saving) are put in by train.ts itself.
 */
import { UsageError } from "../platform/errors.ts";
import type { CallbackDefinition } from "./callbacks/callback.ts";
import { gridPull } from "./callbacks/grid-pull.ts";
import { named } from "./callbacks/named.ts";
import { flipRate } from "./callbacks/flip-rate.ts";
import { freezeOscillations } from "./callbacks/freeze-oscillations.ts";
import type { Callback } from "./events.ts";
import { KindList } from "./registry.ts";

export { type CallbackDefinition, defineCallback } from "./callbacks/callback.ts";

export const callbackKinds = new KindList<CallbackDefinition>("callback", "name", [
  gridPull,
  flipRate,
  freezeOscillations,
]);

/** The callbacks that a config names, in its order. */
export function createCallbacks(choices: readonly { name: string }[]): Callback[] {
  return choices.map((choice, i) => {
    const { kind, create } = callbackKinds.get(choice.name, `train.callbacks[${i}].name`);
    const callback = create(choice as never);
    // Its state in a checkpoint is found by name.
    if (callback.name !== kind)
      throw new UsageError(`callback: "${kind}" made a callback named "${callback.name}"; both must be the same`);
    return named(callback);
  });
}
