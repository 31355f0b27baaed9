/**
 * JSON Schema to GBNF: a grammar all of whose texts are JSON that the schema holds for. Not the other way round: of valid
 * texts it has those with properties in the schema's order, little white space, and numbers that a double holds.
 *
 * Supported: true, {} and false inside others; type (one or several), enum, const; properties, required,
 * additionalProperties; items, prefixItems, minItems, maxItems; minLength, maxLength, pattern (whole strings: ^...$),
 * format (date, time, date-time, uuid); minimum, maximum, exclusiveMinimum, exclusiveMaximum of integers; anyOf; oneOf of
 * alternatives that exclude each other by their type; allOf of one; $ref to this schema's own parts ($defs, definitions).
 * Any other keyword that could forbid something is refused by name: output that may not hold is never made in silence.
 */
import { UnsupportedError, UsageError } from "../../platform/errors.ts";
import { nestsDeeper, show, showText } from "../../platform/show.ts";
import { common, integerRange, otherString, quote, quotedChoices, references } from "./json-rules.ts";
import { patternToGbnf } from "./pattern.ts";
import {
  annotations,
  count,
  isObject,
  type JsonSchema,
  type JsonType,
  keywordsOf,
  supported,
  typeOfValue,
  types,
  typesOf,
} from "./schema-keywords.ts";

export type { JsonSchema } from "./schema-keywords.ts";

/** Schemas in schemas: bounds the converter's own stack. OpenAI takes 10. */
const maxDepth = 100;
/**
 * Steps of the conversion: schemas, properties and values looked at, one inside several `oneOf`s as often as these ask for
 * its types. So many take a fifth of a second; OpenAI takes 5,000 properties.
 */
const maxSteps = 50_000;

/** Any JSON value that is an object: what `response_format: json_object` means. */
export const anyObject: JsonSchema = { type: "object" };

/**
 * @returns GBNF, for llama.cpp too
 * @throws UnsupportedError naming a keyword or form that is not supported, and where; UsageError for what is no schema, or
 *   one that nothing is valid for
 */
export function jsonSchemaToGbnf(schema: unknown): string {
  return new Converter(schema).convert();
}

class Converter {
  private readonly rules = new Map<string, string>();
  private readonly ruleOfRef = new Map<string, string>();
  /** Parts that a "$ref" names, not yet converted: in a queue, so that a chain of them needs no stack. */
  private readonly waiting: { name: string; ref: string; where: string }[] = [];
  private made = 0;
  private steps = 0;

  constructor(private readonly root: unknown) {
    if (nestsDeeper(root, maxDepth))
      throw new UnsupportedError(
        `schema #: nests more than ${maxDepth} deep; give parts a name in $defs, and name these by $ref`,
      );
  }

  convert(): string {
    const body = this.of(this.root, "#");
    for (let part = this.waiting.shift(); part; part = this.waiting.shift())
      this.rules.set(part.name, this.of(this.resolve(part.ref, part.where), part.ref));
    this.rules.set("root", body);
    return [...this.rules].map(([name, text]) => `${name} ::= ${text}`).join("\n");
  }

  /** The name of a common rule; it and what it needs are written out. */
  private use(name: string): string {
    if (!this.rules.has(name)) {
      this.rules.set(name, common[name]);
      for (const match of common[name].matchAll(references)) if (match[1]) this.use(match[1]);
    }
    return name;
  }

  private step(count = 1): void {
    this.steps += count;
    if (this.steps > maxSteps)
      throw new UnsupportedError(
        `schema #: takes more than ${maxSteps} steps to convert (one for each schema, property and value in it, more where oneOf stands in oneOf); make it smaller`,
      );
  }

  private rule(body: string): string {
    const name = `r${this.made++}`;
    this.rules.set(name, body);
    return name;
  }

  /** GBNF of one schema, as a body of alternatives. */
  private of(schema: unknown, where: string): string {
    this.step();
    if (schema === true) return this.use("value");
    if (schema === false) throw new UsageError(`schema ${where}: false, for which nothing is valid`);
    if (!isObject(schema)) throw new UsageError(`schema ${where}: is ${show(schema)}; expected an object or true`);
    for (const keyword of Object.keys(schema))
      if (!supported.has(keyword))
        throw new UnsupportedError(
          `schema ${where}: the keyword ${show(keyword)} is not supported; supported are ${[...supported].filter((k) => !annotations.has(k)).join(", ")}`,
        );
    if ("$ref" in schema) return this.only(schema, "$ref", where, () => this.reference(schema.$ref, where));
    if ("allOf" in schema) return this.only(schema, "allOf", where, () => this.allOf(schema.allOf, where));
    if ("anyOf" in schema) return this.only(schema, "anyOf", where, () => this.anyOf(schema.anyOf, where, "anyOf"));
    if ("oneOf" in schema)
      return this.only(schema, "oneOf", where, () => {
        this.checkDisjoint(schema.oneOf, where);
        return this.anyOf(schema.oneOf, where, "oneOf");
      });
    if ("const" in schema)
      return this.only(schema, "const", where, () => this.literals([schema.const], schema, where), ["type"]);
    if ("enum" in schema) {
      const values = schema.enum;
      if (!Array.isArray(values) || values.length === 0)
        throw new UsageError(`schema ${where}/enum: expected an array of at least one value`);
      return this.only(schema, "enum", where, () => this.literals(values, schema, where), ["type"]);
    }
    const kinds = typesOf(schema, where);
    for (const [kind, keywords] of Object.entries(keywordsOf))
      for (const keyword of keywords)
        if (keyword in schema && !kinds.some((k) => k === kind || (kind === "number" && k === "integer")))
          throw new UsageError(`schema ${where}: "${keyword}" is for a type other than ${kinds.join(", ")}`);
    const bodies = kinds.map((kind) => this.ofType(kind, schema, where));
    return bodies.length === 1 ? bodies[0] : bodies.map((body) => this.rule(body)).join(" | ");
  }

  private ofType(kind: JsonType, schema: Record<string, unknown>, where: string): string {
    switch (kind) {
      case "object":
        return this.object(schema, where);
      case "array":
        return this.array(schema, where);
      case "string":
        return this.string(schema, where);
      case "integer":
        return this.integer(schema, where);
      case "number": {
        const bound = keywordsOf.number.find((keyword) => keyword in schema);
        if (bound !== undefined)
          throw new UnsupportedError(
            `schema ${where}: "${bound}" is supported for integers alone; leave it out, or use type "integer"`,
          );
        return this.use("number");
      }
      default:
        return this.use(kind);
    }
  }

  /** Refuses keywords beside one that says all here. */
  private only(
    schema: Record<string, unknown>,
    keyword: string,
    where: string,
    then: () => string,
    beside: readonly string[] = [],
  ): string {
    const other = Object.keys(schema).find((k) => k !== keyword && !annotations.has(k) && !beside.includes(k));
    if (other !== undefined)
      throw new UnsupportedError(
        `schema ${where}: ${show(other)} beside "${keyword}" is not supported; use one of them`,
      );
    return then();
  }

  private reference(ref: unknown, where: string): string {
    if (typeof ref !== "string" || !/^#(\/|$)/.test(ref))
      throw new UnsupportedError(
        `schema ${where}: "$ref" to ${show(ref)} is not supported; only to this schema's own parts, as in "#/$defs/name"`,
      );
    const known = this.ruleOfRef.get(ref);
    if (known !== undefined) return known;
    const name = `r${this.made++}`;
    this.ruleOfRef.set(ref, name);
    // Its place among the rules is here.
    this.rules.set(name, "");
    this.waiting.push({ name, ref, where });
    return name;
  }

  private resolve(ref: string, where: string): unknown {
    let at: unknown = this.root;
    for (const step of ref.split("/").slice(1)) {
      const key = decoded(step)?.replaceAll("~1", "/").replaceAll("~0", "~");
      if (key === undefined)
        throw new UsageError(`schema ${where}: "$ref" to ${show(ref)}: its % escapes are not UTF-8`);
      if (typeof at !== "object" || at === null || !Object.hasOwn(at, key))
        throw new UsageError(`schema ${where}: "$ref" to ${show(ref)}, which is not there`);
      at = (at as Record<string, unknown>)[key];
    }
    return at;
  }

  private allOf(parts: unknown, where: string): string {
    if (!Array.isArray(parts) || parts.length !== 1)
      throw new UnsupportedError(`schema ${where}: "allOf" is supported with one schema alone; merge them into one`);
    return this.of(parts[0], `${where}/allOf/0`);
  }

  private anyOf(parts: unknown, where: string, keyword: string): string {
    if (!Array.isArray(parts) || parts.length === 0)
      throw new UsageError(`schema ${where}/${keyword}: expected an array of at least one schema`);
    return parts.map((part, i) => this.rule(this.of(part, `${where}/${keyword}/${i}`))).join(" | ");
  }

  /** Of oneOf's alternatives exactly one must hold: those of different types do. */
  private checkDisjoint(parts: unknown, where: string): void {
    if (!Array.isArray(parts)) return;
    const seen = new Set<string>();
    for (const [i, part] of parts.entries())
      for (const kind of this.kindsOf(part, `${where}/oneOf/${i}`)) {
        if (seen.has(kind))
          throw new UnsupportedError(
            `schema ${where}: "oneOf" is supported where the alternatives have different types; use "anyOf" where more than one may hold`,
          );
        seen.add(kind);
      }
  }

  /** Types that a schema may hold for, through all that it names; an integer is a number. */
  private kindsOf(schema: unknown, where: string): Set<string> {
    const kinds = new Set<string>();
    // Each part that is named is looked into once: what a ring of names leads to is the same from each of them.
    const refs = new Set<string>();
    const waiting: unknown[] = [schema];
    while (waiting.length > 0) {
      const part = waiting.pop();
      this.step();
      if (!isObject(part)) for (const type of types) kinds.add(type === "integer" ? "number" : type);
      else if (typeof part.$ref === "string") {
        if (!refs.has(part.$ref)) waiting.push(this.resolve(part.$ref, where));
        refs.add(part.$ref);
      } else if ("const" in part) kinds.add(typeOfValue(part.const));
      else if (Array.isArray(part.enum)) {
        this.step(part.enum.length);
        for (const value of part.enum) kinds.add(typeOfValue(value));
      } else {
        const inner = part.anyOf ?? part.oneOf ?? part.allOf;
        if (Array.isArray(inner)) for (const one of inner) waiting.push(one);
        else for (const type of typesOf(part, where)) kinds.add(type === "integer" ? "number" : type);
      }
    }
    return kinds;
  }

  private literals(values: readonly unknown[], schema: Record<string, unknown>, where: string): string {
    this.step(values.length);
    const kinds = "type" in schema ? typesOf(schema, where) : types;
    const kept = values.filter(
      (value) =>
        kinds.includes(typeOfValue(value) as JsonType) || (Number.isInteger(value) && kinds.includes("integer")),
    );
    if (kept.length === 0) throw new UsageError(`schema ${where}: no value of "enum" or "const" is of its "type"`);
    return quotedChoices(
      kept.map((value) => JSON.stringify(value)),
      (body) => this.rule(body),
    );
  }

  private object(schema: Record<string, unknown>, where: string): string {
    const { properties = {}, required = [], additionalProperties } = schema;
    if (!isObject(properties)) throw new UsageError(`schema ${where}/properties: expected an object`);
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string"))
      throw new UsageError(`schema ${where}/required: expected an array of names`);
    const names = [...new Set([...Object.keys(properties), ...(required as string[])])];
    this.step(names.length);
    const needed = new Set(required as string[]);
    // As models are meant to be used: what a schema does not speak of is written only where it says so.
    const open = additionalProperties ?? names.length === 0;
    const ws = this.use("ws");
    const pair = (key: string, value: string) => this.rule(`${key} ${ws} ":" ${ws} ${value} ${ws}`);
    const members = names.map((name) => {
      const own = Object.hasOwn(properties, name);
      const part = own ? properties[name] : (additionalProperties ?? true);
      if (part === false) {
        if (needed.has(name))
          throw new UsageError(`schema ${where}: the property ${show(name)} is required, but none is valid`);
        return null;
      }
      const at = own ? `${where}/properties/${showText(name, 40)}` : `${where}/additionalProperties`;
      return {
        required: needed.has(name),
        rule: pair(quote(JSON.stringify(name)), this.rule(this.of(part, at))),
      };
    });
    const kept = members.filter((member) => member !== null);
    let more: string | null = null;
    if (open !== false) {
      const value = this.rule(this.of(open, `${where}/additionalProperties`));
      more = pair(names.length === 0 ? this.use("string") : otherString(names, (body) => this.rule(body)), value);
    }
    return `"{" ${ws} ${this.members(kept, more)} "}"`;
  }

  /**
   * Members in order, those that need not come left out or not, with commas between. A rule for each place tells what may
   * come from there on: as the first of all, or behind another.
   */
  private members(members: readonly { required: boolean; rule: string }[], more: string | null): string {
    const comma = `"," ${this.use("ws")}`;
    // Behind another member, from place i on; and as the first.
    let behind = more === null ? '""' : `(${comma} ${more})*`;
    let first = more === null ? '""' : `(${more} ${behind})?`;
    for (let i = members.length - 1; i >= 0; i--) {
      const { required, rule } = members[i];
      const rest = this.rule(behind);
      const firstRest = this.rule(first);
      const here = `${comma} ${rule} ${rest}`;
      behind = required ? here : `${here} | ${rest}`;
      first = required ? `${rule} ${rest}` : `${rule} ${rest} | ${firstRest}`;
    }
    return this.rule(first);
  }

  private array(schema: Record<string, unknown>, where: string): string {
    const { prefixItems = [] } = schema;
    if (!Array.isArray(prefixItems)) throw new UsageError(`schema ${where}/prefixItems: expected an array of schemas`);
    if (Array.isArray(schema.items))
      throw new UnsupportedError(`schema ${where}: "items" as an array is not supported; use "prefixItems"`);
    const min = count(schema, "minItems", where, 0);
    const max = count(schema, "maxItems", where, Number.POSITIVE_INFINITY);
    if (min > max) throw new UsageError(`schema ${where}: minItems is ${min}, over maxItems, ${max}`);
    const ws = this.use("ws");
    const comma = `"," ${ws}`;
    const fixed = prefixItems.slice(0, max).map((part, i) => this.rule(this.of(part, `${where}/prefixItems/${i}`)));
    // `items: false` after prefixItems: nothing behind them.
    const closed = schema.items === false || max <= fixed.length;
    if (closed && min > fixed.length)
      throw new UsageError(`schema ${where}: minItems is ${min}, but there can be only ${fixed.length}`);
    const item = closed ? null : this.rule(this.of(schema.items ?? true, `${where}/items`));
    const many = (one: string, from: number, to: number) =>
      `(${one}){${Math.max(0, from)},${to === Number.POSITIVE_INFINITY ? "" : to}}`;
    let body: string;
    if (fixed.length === 0) {
      if (item === null) return `"[" ${ws} "]"`;
      const all = `${item} ${ws} ${many(`${comma} ${item} ${ws}`, min - 1, max - 1)}`;
      body = min === 0 ? `(${all})?` : all;
    } else {
      // From the last to the first: what may follow each.
      let rest = item === null ? '""' : many(`${comma} ${item} ${ws}`, min - fixed.length, max - fixed.length);
      for (let i = fixed.length - 1; i >= 0; i--) {
        const here = `${i > 0 ? `${comma} ` : ""}${fixed[i]} ${ws} ${this.rule(rest)}`;
        rest = i >= min ? `${here} | ""` : here;
      }
      body = this.rule(rest);
    }
    return `"[" ${ws} ${body} "]"`;
  }

  private string(schema: Record<string, unknown>, where: string): string {
    const sized = "minLength" in schema || "maxLength" in schema;
    for (const keyword of ["pattern", "format"])
      if (keyword in schema && (sized || (keyword === "format" && "pattern" in schema)))
        throw new UnsupportedError(`schema ${where}: "${keyword}" beside another limit on a string is not supported`);
    if ("pattern" in schema) {
      if (typeof schema.pattern !== "string") throw new UsageError(`schema ${where}/pattern: expected a text`);
      return `"\\"" ${this.rule(patternToGbnf(schema.pattern, `schema ${where}/pattern`))} "\\""`;
    }
    if ("format" in schema) {
      const { format } = schema;
      if (format === "date" || format === "time" || format === "uuid") return `"\\"" ${this.use(format)} "\\""`;
      if (format === "date-time") return `"\\"" ${this.use("date")} "T" ${this.use("time")} "\\""`;
      throw new UnsupportedError(
        `schema ${where}: the format ${show(format)} is not supported; supported are date, time, date-time, uuid`,
      );
    }
    if (!sized) return this.use("string");
    const min = count(schema, "minLength", where, 0);
    const max = count(schema, "maxLength", where, Number.POSITIVE_INFINITY);
    if (min > max) throw new UsageError(`schema ${where}: minLength is ${min}, over maxLength, ${max}`);
    const limit = max === Number.POSITIVE_INFINITY ? "" : max;
    return `"\\"" ${this.use("char")}{${min},${limit}} "\\""`;
  }

  private integer(schema: Record<string, unknown>, where: string): string {
    const bound = (keyword: string): number | undefined => {
      const value = schema[keyword];
      if (value !== undefined && !(typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER))
        throw new UsageError(`schema ${where}/${keyword}: is ${show(value)}; expected a number within ±(2^53 - 1)`);
      return value as number | undefined;
    };
    const above = bound("exclusiveMinimum");
    const below = bound("exclusiveMaximum");
    const low = Math.max(
      Math.ceil(bound("minimum") ?? -Infinity),
      above === undefined ? -Infinity : Math.floor(above) + 1,
    );
    const high = Math.min(
      Math.floor(bound("maximum") ?? Infinity),
      below === undefined ? Infinity : Math.ceil(below) - 1,
    );
    if (low === -Infinity && high === Infinity) return this.use("integer");
    if (low > high) throw new UsageError(`schema ${where}: no integer is from ${low} to ${high}`);
    return integerRange(low, high);
  }
}

/** A part of a JSON pointer in a URI without its escapes; undefined where they are no text. */
function decoded(step: string): string | undefined {
  try {
    return decodeURIComponent(step);
  } catch {
    return undefined;
  }
}
