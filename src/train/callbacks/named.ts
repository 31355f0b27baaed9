/**
 * A callback whose errors say which callback threw and at what: those that a config names may be anybody's. The callbacks that
 * a program passes in are its own, and so are their errors.
 */
import * as errors from "../../platform/errors.ts";
import type { Callback } from "../events.ts";

const ours = Object.values(errors);

/** The error to throw in place of one that came out of a callback. */
function explained(name: string, when: string, error: unknown): unknown {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof errors.UsageError)
    return new errors.UsageError(`callback "${name}", ${when}: ${message}`, { cause: error });
  if (ours.some((known) => error instanceof known)) return error;
  return new errors.CallbackError(`callback "${name}" failed ${when}: ${message}; --debug shows where`, {
    cause: error,
  });
}

export function named(callback: Callback): Callback {
  const { name } = callback;
  const guard = <T>(when: string, body: () => T): T => {
    try {
      return body();
    } catch (error) {
      throw explained(name, when, error);
    }
  };
  // Every member, so that one that is added is not lost on the way.
  const members: { [Member in keyof Required<Callback>]: Callback[Member] } = {
    name,
    async on(event, training) {
      try {
        await callback.on(event, training);
      } catch (error) {
        const step = event.type === "scalars" ? event.line.step : event.step;
        throw explained(name, `at the ${event.type} event of step ${step}`, error);
      }
    },
    state: callback.state && (() => guard("in state()", () => callback.state?.())),
    restore: callback.restore && ((state) => guard("in restore()", () => callback.restore?.(state))),
    tensors: callback.tensors && ((parts) => guard("in tensors()", () => callback.tensors?.(parts) ?? [])),
    close: callback.close && (() => guard("in close()", () => callback.close?.())),
    keepsStateOnRollBack: callback.keepsStateOnRollBack,
    beforeMetrics: callback.beforeMetrics,
  };
  return members;
}
