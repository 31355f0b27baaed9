/**
 * The callbacks that a config can name in `train.callbacks`, one line each: a new one is a file in callbacks/ and a line here,
 * and extensions add theirs. Those that belong to every run (metrics, evaluation, saving) are put in by train.ts itself.
 */
import { z } from "zod";
import { UsageError } from "../platform/errors.ts";
import type { Callback } from "./events.ts";
import { KindList, kindOf } from "./registry.ts";

/** A callback as a config can name it. */
export interface CallbackDefinition<Options = never> {
  /** Its `name` in `train.callbacks`. */
  readonly kind: string;
  /** Strict, with `name: z.literal(kind)` and options of its own. */
  readonly schema: z.ZodObject;
  /** Called once for each process that works on the run. The callback's name is the definition's. */
  create(options: Options): Callback;
}

/**
 * A callback with options: its name, a zod type for each option, and how it is made of them.
 *
 *   defineCallback({ name: "mine", options: { most: z.number() }, create: ({ most }) => ({ name: "mine", on }) })
 */
export function defineCallback<Name extends string, Shape extends z.ZodRawShape = Record<never, never>>({
  name,
  options,
  create,
}: {
  name: Name;
  options?: Shape;
  create(options: z.infer<z.ZodObject<Shape>>): Callback;
}) {
  const schema = z.strictObject({ name: z.literal(name), ...(options as Shape) });
  return { kind: name, schema, create };
}

export const callbackKinds = new KindList<CallbackDefinition>("callback", "name", []);

/** The callbacks that a config names, in its order. */
export function createCallbacks(choices: readonly { name: string }[]): Callback[] {
  return choices.map((choice, i) => {
    const { kind, create } = kindOf(`train.callbacks[${i}].name`, choice.name, callbackKinds.all);
    const callback = create(choice as never);
    // Its state in a checkpoint is found by name.
    if (callback.name !== kind)
      throw new UsageError(`callback: "${kind}" made a callback named "${callback.name}"; both must be the same`);
    return callback;
  });
}
