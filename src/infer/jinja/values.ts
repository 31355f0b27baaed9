/**
 * Python's values as templates see them. null, booleans, whole numbers, strings and lists are JavaScript's own; floats,
 * tuples and undefined are classes, since Python shows them otherwise. A string that came from a message is a `Said`: it
 * remembers which of its characters did, so that the encoder can take them as plain text, and is equal to the same string.
 */

/** What the template does wrong, in jinja2's words where it has some. */
export class TemplateError extends Error {}

export class Float {
  constructor(readonly value: number) {}
}

export class Tuple {
  /** @param names of the items, where they have some (groupby's grouper and list) */
  constructor(
    readonly items: readonly Value[],
    readonly names: readonly string[] = [],
  ) {}
}

/** What `map`, `select` and the like give: true whatever is in it, without a length, gone over once. */
export class Generator {
  constructor(private items: readonly Value[]) {}

  take(): Value[] {
    const taken = [...this.items];
    this.items = [];
    return taken;
  }
}

export class Undefined {
  /** @param message of the error where the value is needed */
  constructor(readonly message: string) {}
}

/** A string with stretches that messages said: [start, end) in UTF-16 units, in order, apart from each other. */
export class Said {
  constructor(
    readonly text: string,
    readonly spans: readonly (readonly [number, number])[],
  ) {}
}

export type Dict = Map<Value, Value>;

export class Namespace {
  readonly attributes = new Map<string, Value>();
}

export class Callable {
  constructor(
    readonly name: string,
    readonly call: (args: CallArguments) => Value,
    /** What `loop.index` and `macro.name` find. */
    readonly attribute: (name: string) => Value | undefined = () => undefined,
  ) {}
}

export interface CallArguments {
  positional: Value[];
  named: Map<string, Value>;
}

export type Value =
  | null
  | boolean
  | number
  | string
  | Float
  | Tuple
  | Undefined
  | Generator
  | Said
  | Namespace
  | Callable
  | Value[]
  | Dict;

export const isText = (value: Value): value is string | Said => typeof value === "string" || value instanceof Said;
export const textOf = (value: string | Said): string => (typeof value === "string" ? value : value.text);
export const isNumber = (value: Value): value is number | Float | boolean =>
  typeof value === "number" || typeof value === "boolean" || value instanceof Float;
export const numberOf = (value: number | Float | boolean): number =>
  value instanceof Float ? value.value : Number(value);

/** JSON, and what looks like it, as a template's values. @param said whether strings were said by a message */
export function fromJson(value: unknown, said = false): Value {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return said && value !== "" ? new Said(value, [[0, value.length]]) : value;
  if (typeof value === "number") return Number.isInteger(value) ? value : new Float(value);
  if (typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map((entry) => fromJson(entry, said));
  return new Map(Object.entries(value as object).map(([key, entry]) => [key, fromJson(entry, said)]));
}

/** The name of a value's type in Python, for errors. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (isText(value)) return "str";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (value instanceof Float) return "float";
  if (value instanceof Tuple) return "tuple";
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "dict";
  if (value instanceof Namespace) return "Namespace";
  if (value instanceof Generator) return "generator";
  return value instanceof Undefined ? "Undefined" : "function";
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (isText(value)) return textOf(value) !== "";
  if (isNumber(value)) return numberOf(value) !== 0;
  if (value instanceof Tuple) return value.items.length > 0;
  if (Array.isArray(value)) return value.length > 0;
  return value instanceof Map ? value.size > 0 : true;
}

export function formatFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) {
    const [digits, power] = value.toExponential().split("e");
    return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  const text = size >= 1e16 ? BigInt(value).toString() : String(value);
  if (text.includes("e")) return BigInt(value).toString();
  return Number.isInteger(value) ? `${Object.is(value, -0) ? "-0" : text}.0` : text;
}

const shown: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let out = "";
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (shown[char] !== undefined) out += shown[char];
    else if (char === quote) out += `\\${char}`;
    else if (code > 0x7e ? /[\p{C}\p{Z}]/u.test(char) : code < 0x20 || code === 0x7f) {
      const hex = code.toString(16);
      out +=
        code < 0x100
          ? `\\x${hex.padStart(2, "0")}`
          : code < 0x10000
            ? `\\u${hex.padStart(4, "0")}`
            : `\\U${hex.padStart(8, "0")}`;
    } else out += char;
  }
  return quote + out + quote;
}

/** Lists in lists, where they are shown or compared. */
const maxDepth = 400;

/** Python's repr. */
export function represent(value: Value, depth = 0): string {
  if (depth > maxDepth) throw new TemplateError(`the template nests lists more than ${maxDepth} deep`);
  if (isText(value)) return quoted(textOf(value));
  const inner = (entry: Value) => represent(entry, depth + 1);
  if (Array.isArray(value)) return `[${value.map(inner).join(", ")}]`;
  if (value instanceof Tuple)
    return value.items.length === 1 ? `(${inner(value.items[0])},)` : `(${value.items.map(inner).join(", ")})`;
  if (value instanceof Map) return `{${[...value].map(([k, v]) => `${inner(k)}: ${inner(v)}`).join(", ")}}`;
  if (value instanceof Undefined) return "Undefined";
  return showText(value);
}

/** Python's str, of what is not a string. */
function showText(value: Value): string {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "number") return Math.abs(value) >= 1e21 ? BigInt(value).toString() : String(value);
  if (value instanceof Float) return formatFloat(value.value);
  if (value instanceof Undefined) return "";
  if (value instanceof Namespace) return `<Namespace ${represent(new Map(value.attributes) as Dict)}>`;
  if (value instanceof Callable) throw new TemplateError(`'${value.name}' is a function, and no text`);
  if (value instanceof Generator) throw new TemplateError("a generator is no text; put it through the filter list");
  return represent(value);
}

/** Python's str. */
export const toText = (value: Value): string | Said => (isText(value) ? value : showText(value));
export const toPlain = (value: Value): string => textOf(toText(value));

export function equal(a: Value, b: Value, depth = 0): boolean {
  if (depth > maxDepth) throw new TemplateError(`the template nests lists more than ${maxDepth} deep`);
  if (isText(a)) return isText(b) && textOf(a) === textOf(b);
  if (isNumber(a)) return isNumber(b) && numberOf(a) === numberOf(b);
  const all = (x: readonly Value[], y: readonly Value[]) =>
    x.length === y.length && x.every((entry, i) => equal(entry, y[i], depth + 1));
  if (a instanceof Tuple) return b instanceof Tuple && all(a.items, b.items);
  if (Array.isArray(a)) return Array.isArray(b) && all(a, b);
  if (a instanceof Map)
    return (
      b instanceof Map && a.size === b.size && [...a].every(([k, v]) => b.has(k) && equal(v, b.get(k)!, depth + 1))
    );
  return a === b || (a instanceof Undefined && b instanceof Undefined);
}

const codePointOrder = (a: string, b: string): number => {
  const [x, y] = [[...a], [...b]];
  for (let i = 0; i < x.length && i < y.length; i++)
    if (x[i] !== y[i]) return x[i].codePointAt(0)! - y[i].codePointAt(0)!;
  return x.length - y.length;
};

/** Below 0, 0 or above. @throws TemplateError for values that Python does not order */
export function order(a: Value, b: Value, operator = "<"): number {
  if (isText(a) && isText(b)) return codePointOrder(textOf(a), textOf(b));
  if (isNumber(a) && isNumber(b)) return numberOf(a) - numberOf(b);
  const lists = (x: readonly Value[], y: readonly Value[]) => {
    for (let i = 0; i < x.length && i < y.length; i++) if (!equal(x[i], y[i])) return order(x[i], y[i], operator);
    return x.length - y.length;
  };
  if (Array.isArray(a) && Array.isArray(b)) return lists(a, b);
  if (a instanceof Tuple && b instanceof Tuple) return lists(a.items, b.items);
  for (const value of [a, b]) if (value instanceof Undefined) throw new TemplateError(value.message);
  throw new TemplateError(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/** What a loop or filter goes over. @throws TemplateError for what Python does not iterate */
export function iterate(value: Value): Value[] {
  if (Array.isArray(value)) return value;
  if (value instanceof Tuple) return [...value.items];
  if (value instanceof Map) return [...value.keys()];
  if (isText(value)) return charactersOf(value);
  if (value instanceof Undefined) return [];
  if (value instanceof Generator) return value.take();
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

export function charactersOf(value: string | Said): (string | Said)[] {
  if (typeof value === "string") return [...value];
  const characters: (string | Said)[] = [];
  let at = 0;
  for (const char of value.text) {
    characters.push(sliceOf(value, at, at + char.length));
    at += char.length;
  }
  return characters;
}

const said = (text: string, spans: (readonly [number, number])[]): string | Said =>
  spans.length === 0 || text === "" ? text : new Said(text, spans);

/** Part of a string, by UTF-16 units. */
export function sliceOf(value: string | Said, start: number, end: number): string | Said {
  if (typeof value === "string") return value.slice(start, end);
  const spans: [number, number][] = [];
  for (const [from, to] of value.spans)
    if (to > start && from < end) spans.push([Math.max(from, start) - start, Math.min(to, end) - start]);
  return said(value.text.slice(start, end), spans);
}

export function concatenate(parts: readonly (string | Said)[]): string | Said {
  let text = "";
  const spans: (readonly [number, number])[] = [];
  for (const part of parts) {
    if (part instanceof Said) for (const [from, to] of part.spans) spans.push([from + text.length, to + text.length]);
    text += textOf(part);
  }
  return said(text, spans);
}

/** A string made of others in a way that does not tell which character came from where: all of it counts as said. */
export function madeOf(text: string, ...sources: readonly Value[]): string | Said {
  const isSaid = (value: Value, depth = 0): boolean =>
    value instanceof Said ||
    (depth < maxDepth &&
      ((Array.isArray(value) && value.some((entry) => isSaid(entry, depth + 1))) ||
        (value instanceof Tuple && value.items.some((entry) => isSaid(entry, depth + 1))) ||
        (value instanceof Map && [...value.values()].some((entry) => isSaid(entry, depth + 1)))));
  return sources.some((source) => isSaid(source)) && text !== "" ? new Said(text, [[0, text.length]]) : text;
}

/** Whether a string has a character of two UTF-16 units, so that units are not characters. */
const hasPairs = (text: string) => /[\ud800-\udbff]/.test(text);

/** Characters (code points) of a string. */
export const lengthOf = (text: string): number => {
  if (!hasPairs(text)) return text.length;
  let length = 0;
  for (const _ of text) length++;
  return length;
};

/** Where characters begin, in units, and the end; null where every unit is one. */
export function startsOf(text: string): number[] | null {
  if (!hasPairs(text)) return null;
  const starts: number[] = [];
  let at = 0;
  for (const char of text) {
    starts.push(at);
    at += char.length;
  }
  starts.push(at);
  return starts;
}
