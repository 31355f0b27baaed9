/**
 * What is in a value: attributes, items and slices, with Python's and jinja2's rules, and how deep lists nest. Called by
 * interpreter.ts.
 */
import type { Budget } from "./budget.ts";
import { keyOf, methodOf } from "./methods.ts";
import {
  Callable,
  concatenate,
  isText,
  Namespace,
  sliceOf,
  startsOf,
  TemplateError,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Lists inside lists. */
const maxListDepth = 400;

const missing = (value: Value, name: string): string => `'${typeName(value)} object' has no attribute '${name}'`;

export class Access {
  constructor(private readonly budget: Budget) {}

  /** `value.name`: what the value has of that name, else its entry. */
  attribute(value: Value, name: string): Value {
    const own = this.own(value, name);
    if (own !== undefined) return own;
    if (value instanceof Map) {
      const found = this.entry(value, name);
      if (found !== undefined) return found;
    }
    if (value instanceof Undefined) throw new TemplateError(value.message);
    return new Undefined(missing(value, name));
  }

  /** What the value itself has of a name: a method, a field. */
  own(value: Value, name: string): Value | undefined {
    if (value instanceof Tuple && value.names.includes(name)) return value.items[value.names.indexOf(name)];
    if (value instanceof Namespace) return value.attributes.get(name);
    if (value instanceof Callable) return value.attribute(name);
    return methodOf(value, name, this.budget);
  }

  private entry(value: Map<Value, Value>, key: Value): Value | undefined {
    const found = value.get(keyOf(key));
    return found === undefined && value.has(keyOf(key)) ? null : found;
  }

  /** `value[key]`: the entry, else what the value has of that name. */
  item(value: Value, key: Value): Value {
    if (value instanceof Undefined) throw new TemplateError(value.message);
    if (value instanceof Map) {
      const found = key instanceof Undefined ? undefined : this.entry(value, key);
      if (found !== undefined) return found;
    } else if (typeof key === "number" || typeof key === "boolean") {
      const at = Number(key);
      if (Array.isArray(value) || value instanceof Tuple) {
        const items = Array.isArray(value) ? value : value.items;
        const found = items[at < 0 ? at + items.length : at];
        return found === undefined ? new Undefined(missing(value, String(at))) : found;
      }
      if (isText(value)) {
        const text = textOf(value);
        const starts = startsOf(text);
        const length = starts ? starts.length - 1 : text.length;
        const place = at < 0 ? at + length : at;
        if (place < 0 || place >= length) return new Undefined(missing(value, String(at)));
        return starts ? sliceOf(value, starts[place], starts[place + 1]) : sliceOf(value, place, place + 1);
      }
    }
    if (isText(key)) {
      const own = this.own(value, textOf(key));
      if (own !== undefined) return own;
    }
    return new Undefined(missing(value, isText(key) ? textOf(key) : typeName(key)));
  }

  /** `value[start:stop:step]`. @throws TemplateError for what has no order, and a step of 0 */
  slice(value: Value, start: number | null, stop: number | null, step: number): Value {
    if (step === 0) throw new TemplateError("slice step cannot be zero");
    const text = isText(value) ? value : null;
    const items = text === null && (Array.isArray(value) ? value : value instanceof Tuple ? value.items : null);
    if (text === null && !items)
      throw new TemplateError(
        value instanceof Map ? "unhashable type: 'slice'" : `'${typeName(value)}' object is not subscriptable`,
      );
    const starts = text === null ? null : startsOf(textOf(text));
    const length = items ? items.length : starts ? starts.length - 1 : textOf(text!).length;
    const bound = (at: number | null, fallback: number) =>
      at === null
        ? fallback
        : Math.min(Math.max(at < 0 ? at + length : at, step < 0 ? -1 : 0), step < 0 ? length - 1 : length);
    const from = bound(start, step < 0 ? length - 1 : 0);
    const to = bound(stop, step < 0 ? -1 : length);
    const unit = (at: number) => (starts ? starts[at] : at);
    if (text !== null && step === 1) return from < to ? sliceOf(text, unit(from), unit(to)) : "";
    const places: number[] = [];
    for (let at = from; step > 0 ? at < to : at > to; at += step) places.push(at);
    this.budget.make(places.length);
    if (text !== null) return concatenate(places.map((at) => sliceOf(text, unit(at), unit(at + 1))));
    const list = places.map((at) => (items as readonly Value[])[at]);
    return value instanceof Tuple ? new Tuple(list) : this.sized(list);
  }

  private readonly measures = new WeakMap<object, { depth: number; size: number }>();

  /** A new list, with how deep it nests and how much is in it remembered: showing it takes as much. */
  sized(list: Value[]): Value[] {
    let depth = 1;
    let size = 1;
    for (const entry of list) {
      const inner = typeof entry === "object" && entry !== null ? this.measures.get(entry) : undefined;
      depth = Math.max(depth, 1 + (inner?.depth ?? 0));
      size += inner?.size ?? (isText(entry) ? textOf(entry).length + 1 : 1);
    }
    if (depth > maxListDepth) throw new TemplateError(`the template nests lists more than ${maxListDepth} deep`);
    this.budget.check(size);
    this.measures.set(list, { depth, size });
    return list;
  }
}
