/**
 * What the lists of optimizers, schedules, objectives and callbacks share: an entry by its name, what extensions add, and the
 * schema of all of them. An entry's name is its `kind`; a config gives it under `kind`, or under `name` in a list.
 */
import { z } from "zod";
import { UsageError } from "../platform/errors.ts";
import { nearest } from "./edit-distance.ts";

export interface Definition {
  readonly kind: string;
  /** Strict, with `kind: z.literal(kind)` (or `name`) and keys of its own. */
  readonly schema: z.ZodObject;
}

/** The definitions of this package, and those that extensions add. */
export class KindList<D extends Definition> {
  private readonly definitions: D[];

  /**
   * @param what names the kind of part in messages: "optimizer"
   * @param key  the key of a config that names an entry
   */
  constructor(
    readonly what: string,
    readonly key: "kind" | "name",
    ours: readonly unknown[],
  ) {
    this.definitions = [...(ours as readonly D[])];
  }

  get all(): readonly D[] {
    return this.definitions;
  }

  /** @throws UsageError for a name that is taken, or a definition without `create` or its schema */
  register(definition: D & { create?: unknown }): void {
    const { kind, schema, create } = definition;
    if (this.definitions.some((other) => other.kind === kind))
      throw new UsageError(`${this.what} "${kind}" exists already; choose another name`);
    if (typeof create !== "function")
      throw new UsageError(`${this.what} "${kind}" has no create(); see docs/extending.md`);
    if (!Object.hasOwn(schema?.shape ?? {}, this.key))
      throw new UsageError(
        `${this.what} "${kind}" has no schema with ${this.key}: z.literal("${kind}"); see docs/extending.md`,
      );
    this.definitions.push(definition);
  }
}

/** @throws UsageError naming what there is */
export function kindOf<D extends { kind: string }>(key: string, kind: string, definitions: readonly D[]): D {
  const found = definitions.find((definition) => definition.kind === kind);
  if (found) return found;
  throw new UsageError(`${key} is ${JSON.stringify(kind)}; ${expectedKind(kind, definitions)}`);
}

/** The end of a message about a name that is not there. */
export function expectedKind(kind: unknown, definitions: readonly { kind: string }[]): string {
  const kinds = definitions.map((definition) => definition.kind);
  const near = typeof kind === "string" ? nearest(kind, kinds) : undefined;
  const known = kinds.length === 0 ? "there are none yet" : `expected one of ${kinds.join(", ")}`;
  return `${known}${near ? `; did you mean "${near}"?` : " (your own: load its module with --extension FILE)"}`;
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
