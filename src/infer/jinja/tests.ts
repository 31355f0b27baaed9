/** jinja2's tests (`x is defined`, `select("odd")`). Called by interpreter.ts and filters.ts. */
import { textTests } from "./methods.ts";
import {
  type CallArguments,
  Callable,
  equal,
  Float,
  Generator,
  isNumber,
  isText,
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

/** Whether a value is in another. @throws TemplateError for what holds nothing */
export function contains(container: Value, value: Value): boolean {
  if (isText(container)) {
    if (!isText(value))
      throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(value)}`);
    return textOf(container).includes(textOf(value));
  }
  if (container instanceof Map) return [...container.keys()].some((key) => equal(key, value));
  if (Array.isArray(container)) return container.some((entry) => equal(entry, value));
  if (container instanceof Tuple) return container.items.some((entry) => equal(entry, value));
  if (container instanceof Undefined) return false;
  if (container instanceof Generator) return container.take().some((entry) => equal(entry, value));
  throw new TemplateError(`argument of type '${typeName(container)}' is not iterable`);
}

const whole = (value: Value): number => {
  if (isNumber(value)) return numberOf(value);
  throw new TemplateError(`expected a number, got ${typeName(value)}`);
};
const isInteger = (value: Value) => typeof value === "number";
const compared =
  (operator: string, holds: (difference: number) => boolean) =>
  (value: Value, [other]: readonly Value[]) =>
    holds(order(value, other ?? null, operator));
const same = (value: Value, [other]: readonly Value[]) => equal(value, other ?? null);
const different = (value: Value, [other]: readonly Value[]) => !equal(value, other ?? null);
const greater = compared(">", (d) => d > 0);
const greaterOrEqual = compared(">=", (d) => d >= 0);
const less = compared("<", (d) => d < 0);
const lessOrEqual = compared("<=", (d) => d <= 0);
const modulo = (a: number, b: number) => ((a % b) + b) % b;

const tests: Record<string, (value: Value, args: readonly Value[]) => boolean> = {
  odd: (value) => modulo(whole(value), 2) === 1,
  even: (value) => modulo(whole(value), 2) === 0,
  divisibleby: (value, [by]) => modulo(whole(value), whole(by ?? null)) === 0,
  defined: (value) => !(value instanceof Undefined),
  undefined: (value) => value instanceof Undefined,
  none: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  false: (value) => value === false,
  true: (value) => value === true,
  integer: isInteger,
  float: (value) => value instanceof Float,
  number: isNumber,
  string: isText,
  lower: (value) => textTests.isLower(toPlain(value)),
  upper: (value) => textTests.isUpper(toPlain(value)),
  mapping: (value) => value instanceof Map,
  sequence: (value) =>
    isText(value) ||
    Array.isArray(value) ||
    value instanceof Tuple ||
    value instanceof Map ||
    value instanceof Undefined,
  iterable: (value) =>
    isText(value) ||
    Array.isArray(value) ||
    value instanceof Tuple ||
    value instanceof Map ||
    value instanceof Undefined ||
    value instanceof Generator,
  callable: (value) => value instanceof Callable || value instanceof Undefined,
  sameas: (value, [other]) =>
    isText(value)
      ? isText(other) && textOf(value) === textOf(other)
      : value instanceof Float || other instanceof Float
        ? value === other
        : Object.is(value, other),
  in: (value, [container]) => contains(container ?? null, value),
  escaped: () => false,
  filter: (value) => filterNamesOf().has(toPlain(value)),
  test: (value) => testNames.has(toPlain(value)),
  "==": same,
  eq: same,
  equalto: same,
  "!=": different,
  ne: different,
  ">": greater,
  gt: greater,
  greaterthan: greater,
  ">=": greaterOrEqual,
  ge: greaterOrEqual,
  "<": less,
  lt: less,
  lessthan: less,
  "<=": lessOrEqual,
  le: lessOrEqual,
};
export const testNames: ReadonlySet<string> = new Set(Object.keys(tests));

/** What `is filter` asks: told by filters.ts, which stands on this file. */
let filterNamesOf: () => ReadonlySet<string> = () => new Set();
export function tellFilterNames(names: ReadonlySet<string>): void {
  filterNamesOf = () => names;
}

const arities: Record<string, number> = { divisibleby: 1, sameas: 1, in: 1 };
for (const name of testNames)
  if (/^(==|eq|equalto|!=|ne|[<>]=?|g[te]|l[te]|greaterthan|lessthan)$/.test(name)) arities[name] = 1;

/** @throws TemplateError for a test that there is not, or other arguments than it takes */
export function runTest(name: string, value: Value, { positional, named }: CallArguments): boolean {
  if (!Object.hasOwn(tests, name)) throw new TemplateError(`no test named '${name}'`);
  const args = [...positional, ...named.values()];
  if (args.length !== (arities[name] ?? 0))
    throw new TemplateError(`the test '${name}' takes ${arities[name] ?? 0} arguments, not ${args.length}`);
  return tests[name](value, args);
}
