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
  return {
    name,
    async on(event, training) {
      try {
        await callback.on(event, training);
      } catch (error) {
        const step = event.type === "scalars" ? event.line.step : event.step;
        throw explained(name, `at the ${event.type} event of step ${step}`, error);
      }
    },
    ...(callback.state ? { state: () => guard("in state()", () => callback.state?.()) } : {}),
    ...(callback.restore
      ? { restore: (state: unknown) => guard("in restore()", () => callback.restore?.(state)) }
      : {}),
    ...(callback.close ? { close: () => guard("in close()", () => callback.close?.()) } : {}),
    keepsStateOnRollBack: callback.keepsStateOnRollBack,
  };
}
