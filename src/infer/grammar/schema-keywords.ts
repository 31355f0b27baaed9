/**
 * What a JSON Schema may say here: its keywords, the types that it allows, counts. Read by json-schema.ts, which says what of
 * them is supported.
 */
import { UnsupportedError, UsageError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";

export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/** Keywords that say nothing about what is valid. */
export const annotations = new Set([
  "$schema",
  "$id",
  "$comment",
  "$anchor",
  "$defs",
  "definitions",
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
]);

export const types = ["null", "boolean", "integer", "number", "string", "array", "object"] as const;
export type JsonType = (typeof types)[number];

/** Keywords that hold for one type, where the type is not told. */
export const keywordsOf: Record<string, readonly string[]> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
};
const structural = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"];
export const supported = new Set([...structural, ...Object.values(keywordsOf).flat(), ...annotations]);

/** Counts past these would only make a grammar that takes long to build. */
const maxCount = 100_000;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function typeOfValue(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

export function typesOf(schema: Record<string, unknown>, where: string): readonly JsonType[] {
  if (!("type" in schema)) {
    // A keyword of one type leaves all others free; models are meant to write that type, which is a part of it.
    const told = Object.entries(keywordsOf).filter(([, keywords]) => keywords.some((keyword) => keyword in schema));
    if (told.length === 0) return types.filter((type) => type !== "integer");
    return told.map(([type]) => type as JsonType);
  }
  const given = Array.isArray(schema.type) ? schema.type : [schema.type];
  for (const type of given)
    if (!types.includes(type))
      throw new UsageError(`schema ${where}: the type ${show(type)} is not known; types are ${types.join(", ")}`);
  if (given.length === 0) throw new UsageError(`schema ${where}: "type" is empty`);
  return [...new Set(given)] as JsonType[];
}

export function count(schema: Record<string, unknown>, keyword: string, where: string, otherwise: number): number {
  const value = schema[keyword];
  if (value === undefined) return otherwise;
  if (!(Number.isInteger(value) && (value as number) >= 0))
    throw new UsageError(`schema ${where}/${keyword}: is ${show(value)}; expected a whole number from 0`);
  if ((value as number) > maxCount)
    throw new UnsupportedError(`schema ${where}: "${keyword}" over ${maxCount} is not supported`);
  return value as number;
}
