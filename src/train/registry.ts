/**
 * Lists of optimizers, schedules, objectives and callbacks: a platform/registry.ts whose parts have a schema, and the schema of
 * all of them. A part's name is its `kind`; a config gives it under `kind`, or under `name` in a list.
 */
import { z } from "zod";
import { Registry } from "../platform/registry.ts";

export interface Definition {
  readonly kind: string;
  /** Strict, with `kind: z.literal(kind)` (or `name`) and keys of its own. */
  readonly schema: z.ZodObject;
}

/** The definitions of this package, and those that extensions add. */
export class KindList<D extends Definition> extends Registry<D> {
  /**
   * @param what names the kind of part in messages: "optimizer"
   * @param key  the key of a config that names an entry
   */
  constructor(what: string, key: "kind" | "name", ours: readonly unknown[]) {
    super(
      what,
      ours as readonly D[],
      ({ kind, schema, ...rest }: Definition & { create?: unknown }) => {
        if (typeof rest.create !== "function") return "create()";
        return Object.hasOwn(schema?.shape ?? {}, key) ? null : `schema with ${key}: z.literal("${kind}")`;
      },
      "kind",
    );
  }
}

type SchemasOf<T extends readonly { schema: z.ZodObject }[]> = { -readonly [I in keyof T]: T[I]["schema"] };

/** One schema for all, which the key (`kind`, or `name`) divides. */
export function schemaOfKinds<
  const T extends readonly { kind: string; schema: z.ZodObject }[],
  const Key extends string,
>(key: Key, definitions: T): z.ZodDiscriminatedUnion<SchemasOf<T>, Key> {
  const schemas = definitions.map(({ schema }) => schema);
  return z.discriminatedUnion(key, schemas as never) as never;
}
