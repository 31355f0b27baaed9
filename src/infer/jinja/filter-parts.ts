/** What filters of jinja2 are made of: attributes by path, sorting, choosing, the largest and smallest, rounding. Called by filters.ts. */
import type { Budget } from "./budget.ts";
import { bind, defined, wantText } from "./methods.ts";
import { runTest } from "./tests.ts";
import {
  type CallArguments,
  Generator,
  isNumber,
  isText,
  isTrue,
  iterate,
  lengthOf,
  numberOf,
  order,
  TemplateError,
  textOf,
  toPlain,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

export interface FilterContext {
  budget: Budget;
  own(value: Value, name: string): Value | undefined;
  item(value: Value, key: Value): Value;
}
export type Filter = (value: Value, args: CallArguments, context: FilterContext) => Value;

/** `attribute="a.b.0"`: what each item is asked for. */
export function getter(path: Value, context: FilterContext, fallback?: Value): (value: Value) => Value {
  const parts =
    typeof path === "number"
      ? [path]
      : toPlain(path)
          .split(".")
          .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return (value) => {
    let found = value;
    for (const part of parts) {
      found = context.item(found, part);
      if (found instanceof Undefined && fallback !== undefined) return fallback;
    }
    return found;
  };
}

export const lengthOfValue = (value: Value): number => {
  if (isText(value)) return lengthOf(textOf(value));
  if (value instanceof Map) return value.size;
  if (Array.isArray(value) || value instanceof Tuple || value instanceof Undefined) return iterate(value).length;
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
};

export const folded = (value: Value, caseSensitive: boolean): Value =>
  !caseSensitive && isText(value) ? textOf(value).toLowerCase() : value;

export function sorted(values: readonly Value[], by: (value: Value) => Value, reverse: boolean): Value[] {
  const keyed = values.map((value, i) => ({ value, key: by(value), i }));
  // Equals keep their order, reversed too, as Python's sort has it.
  keyed.sort((a, b) => (reverse ? order(b.key, a.key) : order(a.key, b.key)) || a.i - b.i);
  return keyed.map(({ value }) => value);
}

/** `attribute="a,b"`: by several, each in turn. */
export const multiGetter = (path: Value, context: FilterContext, caseSensitive: boolean) => {
  const parts = isText(path) ? textOf(path).split(",") : [path];
  const getters = parts.map((part) => (part === null ? (value: Value) => value : getter(part, context)));
  return (value: Value): Value => {
    const keys = getters.map((get) => folded(get(value), caseSensitive));
    return keys.length === 1 ? keys[0] : new Tuple(keys);
  };
};

/** select, reject, selectattr, rejectattr. */
export function choosing(byAttribute: boolean, wanted: boolean): Filter {
  return (value, { positional, named }, context) => {
    const args = [...positional];
    const path = byAttribute ? args.shift() : undefined;
    if (byAttribute && path === undefined) throw new TemplateError("Missing parameter for attribute name");
    const get = path === undefined ? (entry: Value) => entry : getter(path, context);
    const test = args.shift();
    const holds = (entry: Value) =>
      test === undefined ? isTrue(entry) : runTest(wantText("select", test), entry, { positional: args, named });
    return new Generator(iterate(value).filter((entry) => holds(get(entry)) === wanted));
  };
}

export const number = (value: Value): number => {
  if (isNumber(value)) return numberOf(value);
  throw new TemplateError(`expected a number, got ${typeName(defined(value))}`);
};
export const extreme =
  (direction: 1 | -1): Filter =>
  (value, args, context) => {
    const [caseSensitive, attribute] = bind("max", ["case_sensitive", "attribute"], args);
    const by = multiGetter(attribute ?? null, context, isTrue(caseSensitive ?? false));
    const list = iterate(value);
    if (list.length === 0) return new Undefined("No aggregated item, sequence was empty.");
    return list.reduce((best, entry) => (direction * order(by(entry), by(best)) > 0 ? entry : best));
  };

export const rounded = (value: number, precision: number, method: string): number => {
  const factor = 10 ** precision;
  if (method === "ceil") return Math.ceil(value * factor) / factor;
  if (method === "floor") return Math.floor(value * factor) / factor;
  // Half to even of the exact binary value.
  if (precision >= 0 && precision <= 60 && Math.abs(value) < 1e21) {
    // A tie is one of the exact binary value, which has few digits more.
    const isTie = /^50*$/.test(
      value
        .toFixed(precision + 40)
        .split(".")[1]
        .slice(precision),
    );
    if (!isTie) return Number(value.toFixed(precision));
    const below = Math.floor(value * factor);
    return (below % 2 === 0 ? below : below + 1) / factor;
  }
  return Math.round(value * factor) / factor;
};
