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
import { patternToGbnf } from "./pattern.ts";

export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/** Keywords that say nothing about what is valid. */
const annotations = new Set([
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

const types = ["null", "boolean", "integer", "number", "string", "array", "object"] as const;
type JsonType = (typeof types)[number];

/** Keywords that hold for one type, where the type is not told. */
const keywordsOf: Record<string, readonly string[]> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
};
const structural = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"];
const supported = new Set([...structural, ...Object.values(keywordsOf).flat(), ...annotations]);

/** Counts past these would only make a grammar that takes long to build. */
const maxCount = 100_000;

/** Rules for JSON without a schema. White space as llama.cpp has it: little, or a model may write nothing else. */
const common: Record<string, string> = {
  ws: '| " " | "\\n" [ \\t]{0,20}',
  // Escapes of surrogates are left out: half a pair is no character, and a pair would count as two.
  char: '[^"\\\\\\x00-\\x1F] | "\\\\" (["\\\\/bfnrt] | "u" ([0-9A-Ca-cE-Fe-f] hex hex hex | [Dd] [0-7] hex hex))',
  hex: "[0-9A-Fa-f]",
  string: '"\\"" char* "\\""',
  // 15 digits: every such integer is a double, exactly.
  integer: '"-"? ("0" | [1-9] [0-9]{0,14})',
  // At most 16 digits before, and an exponent of two: a double holds it.
  whole: '"0" | [1-9] [0-9]{0,15}',
  number: '"-"? whole ("." [0-9]{1,16})? ([eE] [+-]? [0-9]{1,2})?',
  boolean: '"true" | "false"',
  null: '"null"',
  value: "object | array | string | number | boolean | null",
  object: '"{" ws (string ws ":" ws value ws ("," ws string ws ":" ws value ws)*)? "}"',
  array: '"[" ws (value ws ("," ws value ws)*)? "]"',
  digit: "[0-9]",
  date: 'digit{4} "-" ("0" [13578] "-" day31 | "10-" day31 | "12-" day31 | "0" [469] "-" day30 | "11-" day30 | "02-" day28)',
  day28: '"0" [1-9] | "1" digit | "2" [0-8]',
  day30: '"0" [1-9] | [12] digit | "30"',
  day31: 'day30 | "31"',
  time: '([01] digit | "2" [0-3]) ":" [0-5] digit ":" [0-5] digit ("." digit{1,9})? ("Z" | [+-] ([01] digit | "2" [0-3]) ":" [0-5] digit)',
  uuid: 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
};
const references = /"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|([a-z][\w-]*)/g;

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

/** A character that a JSON string holds as it is. */
const isPlain = (c: string): boolean => {
  const codePoint = c.codePointAt(0)!;
  return codePoint >= 0x20 && c !== '"' && c !== "\\" && !(codePoint >= 0xd800 && codePoint <= 0xdfff);
};

/** A text as a literal of GBNF. */
function quote(text: string): string {
  const escaped = Array.from(text, (c) => {
    if (c === '"' || c === "\\") return `\\${c}`;
    return isPlain(c) ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return `"${escaped.join("")}"`;
}

class Converter {
  private readonly rules = new Map<string, string>();
  private readonly ruleOfRef = new Map<string, string>();
  private made = 0;

  constructor(private readonly root: unknown) {}

  convert(): string {
    const body = this.of(this.root, "#");
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

  private rule(body: string): string {
    const name = `r${this.made++}`;
    this.rules.set(name, body);
    return name;
  }

  /** GBNF of one schema, as a body of alternatives. */
  private of(schema: unknown, where: string): string {
    if (schema === true) return this.use("value");
    if (schema === false) throw new UsageError(`schema ${where}: false, for which nothing is valid`);
    if (!isObject(schema)) throw new UsageError(`schema ${where}: is ${describe(schema)}; expected an object or true`);
    for (const keyword of Object.keys(schema))
      if (!supported.has(keyword))
        throw new UnsupportedError(
          `schema ${where}: the keyword "${keyword}" is not supported; supported are ${[...supported].filter((k) => !annotations.has(k)).join(", ")}`,
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
      throw new UnsupportedError(`schema ${where}: "${other}" beside "${keyword}" is not supported; use one of them`);
    return then();
  }

  private reference(ref: unknown, where: string): string {
    if (typeof ref !== "string" || !/^#(\/|$)/.test(ref))
      throw new UnsupportedError(
        `schema ${where}: "$ref" to ${describe(ref)} is not supported; only to this schema's own parts, as in "#/$defs/name"`,
      );
    const known = this.ruleOfRef.get(ref);
    if (known !== undefined) return known;
    const name = `r${this.made++}`;
    this.ruleOfRef.set(ref, name);
    this.rules.set(name, this.of(this.resolve(ref, where), ref));
    return name;
  }

  private resolve(ref: string, where: string): unknown {
    let at: unknown = this.root;
    for (const step of ref.split("/").slice(1)) {
      const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof at !== "object" || at === null || !Object.hasOwn(at, key))
        throw new UsageError(`schema ${where}: "$ref" to ${JSON.stringify(ref)}, which is not there`);
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

  /** Types that a schema may hold for; an integer is a number. */
  private kindsOf(part: unknown, where: string, refs: readonly string[] = []): Set<string> {
    if (!isObject(part)) return new Set(types.filter((type) => type !== "integer"));
    const named = (values: readonly unknown[]) => new Set(values.map(typeOfValue));
    if (typeof part.$ref === "string" && !refs.includes(part.$ref))
      return this.kindsOf(this.resolve(part.$ref, where), where, [...refs, part.$ref]);
    if ("const" in part) return named([part.const]);
    if (Array.isArray(part.enum)) return named(part.enum);
    const inner = part.anyOf ?? part.oneOf ?? part.allOf;
    if (Array.isArray(inner)) return new Set(inner.flatMap((one) => [...this.kindsOf(one, where, refs)]));
    return new Set(typesOf(part, where).map((type) => (type === "integer" ? "number" : type)));
  }

  private literals(values: readonly unknown[], schema: Record<string, unknown>, where: string): string {
    const kinds = "type" in schema ? typesOf(schema, where) : types;
    const kept = values.filter(
      (value) =>
        kinds.includes(typeOfValue(value) as JsonType) || (Number.isInteger(value) && kinds.includes("integer")),
    );
    if (kept.length === 0) throw new UsageError(`schema ${where}: no value of "enum" or "const" is of its "type"`);
    return kept.map((value) => quote(JSON.stringify(value))).join(" | ");
  }

  private object(schema: Record<string, unknown>, where: string): string {
    const { properties = {}, required = [], additionalProperties } = schema;
    if (!isObject(properties)) throw new UsageError(`schema ${where}/properties: expected an object`);
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string"))
      throw new UsageError(`schema ${where}/required: expected an array of names`);
    const names = [...new Set([...Object.keys(properties), ...(required as string[])])];
    // As models are meant to be used: what a schema does not speak of is written only where it says so.
    const open = additionalProperties ?? names.length === 0;
    const ws = this.use("ws");
    const pair = (key: string, value: string) => this.rule(`${key} ${ws} ":" ${ws} ${value} ${ws}`);
    const members = names.map((name) => {
      const own = Object.hasOwn(properties, name);
      const part = own ? properties[name] : (additionalProperties ?? true);
      if (part === false) {
        if (required.includes(name))
          throw new UsageError(`schema ${where}: the property "${name}" is required, but none is valid`);
        return null;
      }
      const at = own ? `${where}/properties/${name}` : `${where}/additionalProperties`;
      return {
        required: required.includes(name),
        rule: pair(quote(JSON.stringify(name)), this.rule(this.of(part, at))),
      };
    });
    const kept = members.filter((member) => member !== null);
    let more: string | null = null;
    if (open !== false) {
      const value = this.rule(this.of(open, `${where}/additionalProperties`));
      more = pair(this.otherString(names), value);
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

  /** A string, written without escapes, that is none of these: a trie of the names, with what leaves it at each place. */
  private otherString(names: readonly string[]): string {
    if (names.length === 0) return this.use("string");
    const plain = '[^"\\\\\\x00-\\x1F]';
    interface Node {
      children: Map<string, Node>;
      isName: boolean;
    }
    const root: Node = { children: new Map(), isName: false };
    for (const name of names) {
      let node = root;
      for (const c of name) {
        const child = node.children.get(c) ?? { children: new Map(), isName: false };
        node.children.set(c, child);
        node = child;
      }
      node.isName = true;
    }
    // What may stand from a node on, up to the closing quote.
    const rest = (node: Node): string => {
      const children = [...node.children].filter(([c]) => isPlain(c));
      const inClass = children.map(([c]) => `\\U${c.codePointAt(0)!.toString(16).padStart(8, "0")}`);
      const ways = [
        ...(node.isName ? [] : ['""']),
        `[^"\\\\\\x00-\\x1F${inClass.join("")}] ${plain}*`,
        ...children.map(([c, child]) => `${quote(c)} ${this.rule(rest(child))}`),
      ];
      return ways.join(" | ");
    };
    return `"\\"" ${this.rule(rest(root))} "\\""`;
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
        `schema ${where}: the format ${describe(format)} is not supported; supported are date, time, date-time, uuid`,
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
        throw new UsageError(`schema ${where}/${keyword}: is ${describe(value)}; expected a number within ±(2^53 - 1)`);
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

/** Decimal integers from low to high, either of which may be infinite: then up to where doubles are exact. */
export function integerRange(low: number, high: number): string {
  const ways: string[] = [];
  if (low < 0) {
    const most = low === -Infinity ? Infinity : -low;
    ways.push(`"-" (${naturalRange(high < 0 ? -high : 1, most)})`);
  }
  if (high >= 0) ways.push(naturalRange(Math.max(0, low), high));
  return ways.join(" | ");
}

/** From 0 <= low <= high. */
function naturalRange(low: number, high: number): string {
  const most = String(Math.min(high, Number.MAX_SAFE_INTEGER));
  const least = String(low);
  const ways: string[] = [];
  for (let digits = least.length; digits <= most.length; digits++) {
    const from = digits === least.length ? least : `1${"0".repeat(digits - 1)}`;
    const to = digits === most.length ? most : "9".repeat(digits);
    ways.push(sameLength(from, to));
  }
  return ways.join(" | ");
}

/** Digit texts of one length from `from` to `to`. */
function sameLength(from: string, to: string): string {
  if (from === to) return `"${from}"`;
  const digits = (a: string, b: string) => (a === b ? `"${a}"` : `[${a}-${b}]`);
  const n = from.length;
  if (n === 1) return digits(from, to);
  if (from[0] === to[0]) return `"${from[0]}" (${sameLength(from.slice(1), to.slice(1))})`;
  const zeros = "0".repeat(n - 1);
  const nines = "9".repeat(n - 1);
  const ways: string[] = [];
  let first = Number(from[0]);
  let last = Number(to[0]);
  if (from.slice(1) !== zeros) ways.push(`"${first++}" (${sameLength(from.slice(1), nines)})`);
  if (to.slice(1) !== nines) ways.push(`"${last--}" (${sameLength(zeros, to.slice(1))})`);
  if (first <= last) ways.push(`${digits(String(first), String(last))} [0-9]{${n - 1}}`);
  return ways.join(" | ");
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const describe = (value: unknown): string => JSON.stringify(value) ?? String(value);

function typeOfValue(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

function typesOf(schema: Record<string, unknown>, where: string): readonly JsonType[] {
  if (!("type" in schema)) {
    // A keyword of one type leaves all others free; models are meant to write that type, which is a part of it.
    const told = Object.entries(keywordsOf).filter(([, keywords]) => keywords.some((keyword) => keyword in schema));
    if (told.length === 0) return types.filter((type) => type !== "integer");
    return told.map(([type]) => type as JsonType);
  }
  const given = Array.isArray(schema.type) ? schema.type : [schema.type];
  for (const type of given)
    if (!types.includes(type))
      throw new UsageError(`schema ${where}: the type ${describe(type)} is not known; types are ${types.join(", ")}`);
  if (given.length === 0) throw new UsageError(`schema ${where}: "type" is empty`);
  return given as JsonType[];
}

function count(schema: Record<string, unknown>, keyword: string, where: string, otherwise: number): number {
  const value = schema[keyword];
  if (value === undefined) return otherwise;
  if (!(Number.isInteger(value) && (value as number) >= 0))
    throw new UsageError(`schema ${where}/${keyword}: is ${describe(value)}; expected a whole number from 0`);
  if ((value as number) > maxCount)
    throw new UnsupportedError(`schema ${where}: "${keyword}" over ${maxCount} is not supported`);
  return value as number;
}
