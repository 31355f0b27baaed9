/** What the lists of optimisers, schedules and objectives share: an entry by its name, and the schema of all of them. */
import { z } from "zod";
import { UsageError } from "../platform/errors.ts";
import { nearest } from "./edit-distance.ts";

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
  return `expected one of ${kinds.join(", ")}${near ? `; did you mean "${near}"?` : ""}`;
}

type SchemasOf<T extends readonly { schema: z.ZodObject }[]> = { -readonly [I in keyof T]: T[I]["schema"] };

/** One schema for all, which the key (`kind`, or `name`) divides. @throws UsageError for a name that is there twice */
export function schemaOfKinds<
  const T extends readonly { kind: string; schema: z.ZodObject }[],
  const Key extends string,
>(key: Key, definitions: T): z.ZodDiscriminatedUnion<SchemasOf<T>, Key> {
  const kinds = definitions.map(({ kind }) => kind);
  const twice = kinds.find((kind, i) => kinds.indexOf(kind) !== i);
  if (twice !== undefined) throw new UsageError(`there are two of the name "${twice}" (${kinds.join(", ")})`);
  const schemas = definitions.map(({ schema }) => schema);
  return z.discriminatedUnion(key, schemas as never) as never;
}
