/**
 * What a callback is to a config: a name, options, and how it is made. ../callbacks.ts lists them; ../events.ts says what a
 * callback hears, ../controls.ts what it may do.
 */
import { z } from "zod";
import type { Callback } from "../events.ts";

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
