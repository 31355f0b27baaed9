/** The functions that every template may call: range, dict, namespace, raise_exception and the like. Called by interpreter.ts. */
import { systemClock } from "../../platform/system.ts";
import type { Budget } from "./budget.ts";
import { keyOf } from "./methods.ts";
import { formatTime } from "./strftime.ts";
import {
  type CallArguments,
  Callable,
  isText,
  iterate,
  Namespace,
  TemplateError,
  textOf,
  toText,
  typeName,
  type Value,
} from "./values.ts";

/** jinja2's sandbox. */
const maxRange = 100_000;

export function checkAttributeName(name: string): void {
  if (name.startsWith("_"))
    throw new TemplateError(
      `Chat templates cannot store underscore-prefixed attributes on a namespace, but got '${name}'. Please rename the attribute.`,
    );
}

/** What every template may call. transformers' sandbox has these; `lipsum` says why not. */
export function globals(budget: Budget): [string, Value][] {
  const callable = (name: string, call: (args: CallArguments) => Value): [string, Value] => [
    name,
    new Callable(name, call),
  ];
  const wholes = (name: string, values: readonly Value[]) =>
    values.map((value) => {
      if (typeof value === "number" || typeof value === "boolean") return Number(value);
      throw new TemplateError(`${name}: '${typeName(value)}' object cannot be interpreted as an integer`);
    });
  const dict = ({ positional, named }: CallArguments): Map<Value, Value> => {
    const made = new Map<Value, Value>();
    for (const given of positional) {
      if (given instanceof Map) for (const [key, value] of given) made.set(key, value);
      else
        for (const pair of iterate(given)) {
          const [key, value] = iterate(pair);
          made.set(keyOf(key), value);
        }
    }
    for (const [name, value] of named) made.set(name, value);
    return made;
  };
  return [
    callable("range", ({ positional }) => {
      const numbers = wholes("range", positional);
      if (numbers.length < 1 || numbers.length > 3) throw new TemplateError("range expected 1 to 3 arguments");
      const [start, stop] = numbers.length === 1 ? [0, numbers[0]] : numbers;
      const step = numbers[2] ?? 1;
      if (step === 0) throw new TemplateError("range() arg 3 must not be zero");
      const count = Math.max(0, Math.ceil((stop - start) / step));
      budget.make(count);
      if (count > maxRange)
        throw new TemplateError(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${maxRange}).`);
      return Array.from({ length: count }, (_, i) => start + i * step);
    }),
    callable("dict", dict),
    callable("namespace", (args) => {
      const namespace = new Namespace();
      for (const [key, value] of dict(args)) {
        const name = textOf(toText(key));
        checkAttributeName(name);
        namespace.attributes.set(name, value);
      }
      return namespace;
    }),
    callable("raise_exception", ({ positional }) => {
      throw new TemplateError(textOf(toText(positional[0] ?? "")));
    }),
    callable("strftime_now", ({ positional }) => {
      const [format] = positional;
      if (!isText(format)) throw new TemplateError("strftime_now: expected a format");
      return formatTime(textOf(format), new Date(systemClock.epochMs()));
    }),
    callable("cycler", ({ positional }) => {
      if (positional.length === 0) throw new TemplateError("at least one item has to be provided");
      let at = 0;
      return new Callable(
        "cycler",
        () => null,
        (name) => {
          if (name === "current") return positional[at];
          if (name === "next")
            return new Callable("next", () => {
              const value = positional[at];
              at = (at + 1) % positional.length;
              return value;
            });
          if (name === "reset")
            return new Callable("reset", () => {
              at = 0;
              return null;
            });
          return undefined;
        },
      );
    }),
    callable("joiner", ({ positional, named }) => {
      let used = false;
      const separator = positional[0] ?? named.get("sep") ?? ", ";
      return new Callable("joiner", () => {
        if (used) return separator;
        used = true;
        return "";
      });
    }),
    callable("lipsum", () => {
      throw new TemplateError("lipsum is not supported: it would make text by chance");
    }),
  ];
}
