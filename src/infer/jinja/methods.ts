/**
 * Methods of strings, lists and dicts that a template may call, with Python's arguments. What changes a value is refused, as
 * transformers' sandbox does. Called by interpreter.ts.
 */
import type { Budget } from "./budget.ts";
import {
  type CallArguments,
  Callable,
  concatenate,
  type Dict,
  equal,
  isText,
  isTrue,
  iterate,
  lengthOf,
  madeOf,
  type Said,
  sliceOf,
  startsOf,
  TemplateError,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";
import { formatBraces } from "./format.ts";

type Text = string | Said;
export const pythonSpace = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const space = new RegExp(`[${pythonSpace}]`);
// From text, since the linter takes control characters in a literal for a mistake.
const lineEndings = "\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029";
export const lineEnds = new RegExp(`\\r\\n|[${lineEndings}]`, "g");

/** Arguments by name or place. @throws TemplateError for one that the method has not */
export function bind(
  method: string,
  names: readonly string[],
  { positional, named }: CallArguments,
): (Value | undefined)[] {
  if (positional.length > names.length)
    throw new TemplateError(`${method}() takes at most ${names.length} arguments (${positional.length} given)`);
  const bound: (Value | undefined)[] = names.map((_, i) => positional[i]);
  for (const [name, value] of named) {
    const i = names.indexOf(name);
    if (i < 0) throw new TemplateError(`${method}() got an unexpected keyword argument '${name}'`);
    if (i < positional.length) throw new TemplateError(`${method}() got multiple values for argument '${name}'`);
    bound[i] = value;
  }
  return bound;
}

/** The same of a method that takes no arguments by name. */
function places(method: string, names: readonly string[], args: CallArguments): (Value | undefined)[] {
  if (args.named.size > 0) throw new TemplateError(`${method}() takes no keyword arguments`);
  return bind(method, names, args);
}

export function wantText(method: string, value: Value | undefined): string {
  if (value === undefined) throw new TemplateError(`${method}() is missing an argument`);
  if (!isText(value)) throw new TemplateError(`${method}: expected a string, got ${typeName(value)}`);
  return textOf(value);
}
export function wantWhole(method: string, value: Value | undefined, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback;
  if (typeof value === "boolean") return Number(value);
  if (typeof value !== "number")
    throw new TemplateError(
      `${method}: expected a whole number, got ${value === undefined ? "nothing" : typeName(value)}`,
    );
  return value;
}

/** strip, lstrip, rstrip: of white space, or of a set of characters. */
export function strip(value: Text, characters: string | null, left: boolean, right: boolean): Text {
  const text = textOf(value);
  const set = characters === null ? null : new Set(characters);
  const goes = (char: string) => (set ? set.has(char) : space.test(char));
  let [start, end] = [0, text.length];
  while (left && start < end) {
    const char = String.fromCodePoint(text.codePointAt(start)!);
    if (!goes(char)) break;
    start += char.length;
  }
  while (right && end > start) {
    const low = text.charCodeAt(end - 1);
    const width = low >= 0xdc00 && low <= 0xdfff && end - start > 1 ? 2 : 1;
    if (!goes(text.slice(end - width, end))) break;
    end -= width;
  }
  return sliceOf(value, start, end);
}

/** split and rsplit. */
function split(value: Text, separator: string | null, most: number, fromRight: boolean): Text[] {
  const text = textOf(value);
  const cuts: [number, number][] = [];
  if (separator === "") throw new TemplateError("empty separator");
  if (separator !== null) {
    if (fromRight)
      for (let at = text.lastIndexOf(separator); at >= 0 && (most < 0 || cuts.length < most); ) {
        cuts.unshift([at, at + separator.length]);
        at = at - separator.length < 0 ? -1 : text.lastIndexOf(separator, at - separator.length);
      }
    else
      for (
        let at = text.indexOf(separator);
        at >= 0 && (most < 0 || cuts.length < most);
        at = text.indexOf(separator, cuts.at(-1)![1])
      )
        cuts.push([at, at + separator.length]);
    const starts = [0, ...cuts.map(([, end]) => end)];
    return starts.map((start, i) => sliceOf(value, start, cuts[i]?.[0] ?? text.length));
  }
  const words = [...text.matchAll(new RegExp(`[^${pythonSpace}]+`, "g"))].map(
    ({ 0: word, index }) => [index, index + word.length] as const,
  );
  if (words.length === 0) return [];
  if (most >= 0 && words.length > most + 1) {
    if (fromRight) {
      const kept = words.slice(words.length - most);
      const end = words[words.length - most - 1][1];
      const start = 0;
      return [strip(sliceOf(value, start, end), null, false, true), ...kept.map(([a, b]) => sliceOf(value, a, b))];
    }
    const kept = words.slice(0, most);
    return [...kept.map(([a, b]) => sliceOf(value, a, b)), sliceOf(value, words[most][0], text.length)];
  }
  return words.map(([a, b]) => sliceOf(value, a, b));
}

export function replace(value: Text, old: string, by: Text, most: number, budget: Budget): Text {
  const text = textOf(value);
  const places: number[] = [];
  if (old === "") {
    const starts = startsOf(text) ?? Array.from({ length: text.length + 1 }, (_, i) => i);
    places.push(...(most < 0 ? starts : starts.slice(0, most)));
  } else
    for (
      let at = text.indexOf(old);
      at >= 0 && (most < 0 || places.length < most);
      at = text.indexOf(old, at + old.length)
    )
      places.push(at);
  budget.make(text.length + places.length * textOf(by).length);
  const parts: Text[] = [];
  let from = 0;
  for (const at of places) {
    parts.push(sliceOf(value, from, at), by);
    from = at + old.length;
  }
  return concatenate([...parts, sliceOf(value, from, text.length)]);
}

export function capitalize(text: string): string {
  const [first = ""] = text;
  return titleCase(first) + text.slice(first.length).toLowerCase();
}
/** Capitals of two letters that have a form of their own for a word's beginning. */
const digraphs: Record<string, string> = { Ǆ: "ǅ", ǆ: "ǅ", Ǉ: "ǈ", ǉ: "ǈ", Ǌ: "ǋ", ǌ: "ǋ", Ǳ: "ǲ", ǳ: "ǲ" };
/** The capital that begins a word; "ß" becomes "Ss". */
const titleCase = (char: string): string => {
  if (digraphs[char] !== undefined || /\p{Lt}/u.test(char)) return digraphs[char] ?? char;
  const upper = char.toUpperCase();
  if (char === "ŉ") return upper;
  const [head = ""] = upper;
  return head + upper.slice(head.length).toLowerCase();
};
const cased = /\p{Cased}/u;
function title(text: string): string {
  let out = "";
  let inWord = false;
  for (const char of text) {
    const isCased = cased.test(char);
    out += isCased ? (inWord ? char.toLowerCase() : titleCase(char)) : char;
    inWord = isCased;
  }
  return out;
}

export function pad(value: Text, width: number, fill: string, side: "left" | "right" | "center", budget: Budget): Text {
  const missing = width - lengthOf(textOf(value));
  if (missing <= 0) return value;
  budget.make(missing);
  if (lengthOf(fill) !== 1) throw new TemplateError("The fill character must be exactly one character long");
  // As CPython: of an odd rest the left gets more where the width is odd.
  const left = side === "left" ? 0 : side === "right" ? missing : Math.floor(missing / 2) + (missing & width & 1);
  return concatenate([fill.repeat(left), value, fill.repeat(missing - left)]);
}

/** Joins texts; in Python a part that is none is an error. */
export function join(separator: Text, parts: readonly Text[], budget: Budget): Text {
  budget.make(parts.reduce((sum, part) => sum + textOf(part).length + textOf(separator).length, 0));
  return concatenate(parts.flatMap((part, i) => (i === 0 ? [part] : [separator, part])));
}

const every = (text: string, pattern: RegExp) => text !== "" && [...text].every((char) => pattern.test(char));
const isUpper = (text: string) => text.toUpperCase() === text && text.toLowerCase() !== text && !/\p{Lt}/u.test(text);
const isLower = (text: string) => text.toLowerCase() === text && text.toUpperCase() !== text && !/\p{Lt}/u.test(text);
export const textTests = { isUpper, isLower };

type Method<T> = (value: T, args: CallArguments, budget: Budget) => Value;

/** Start and end of the part that find, count and the like look at, in units. */
function range(text: string, start: Value | undefined, end: Value | undefined, method: string): [number, number] {
  const starts = startsOf(text);
  const length = starts ? starts.length - 1 : text.length;
  const place = (value: Value | undefined, fallback: number) => {
    const at = value === null ? fallback : wantWhole(method, value, fallback);
    const bounded = Math.min(length, Math.max(0, at < 0 ? at + length : at));
    return starts ? starts[bounded] : bounded;
  };
  return [place(start, 0), place(end, length)];
}

/** Units to characters. */
const characterAt = (text: string, unit: number) => lengthOf(text.slice(0, unit));

function find(method: string, last: boolean, fails: boolean): Method<Text> {
  return (value, args) => {
    const [wanted, start, end] = places(method, ["sub", "start", "end"], args);
    const text = textOf(value);
    const [from, to] = range(text, start, end, method);
    const part = text.slice(from, to);
    const at = last ? part.lastIndexOf(wantText(method, wanted)) : part.indexOf(wantText(method, wanted));
    if (at < 0 && fails) throw new TemplateError("substring not found");
    return at < 0 ? -1 : characterAt(text, from + at);
  };
}

function ends(method: "startswith" | "endswith"): Method<Text> {
  return (value, args) => {
    const [wanted, start, end] = places(method, ["prefix", "start", "end"], args);
    const text = textOf(value);
    const [from, to] = range(text, start, end, method);
    const part = text.slice(from, to);
    const options = wanted instanceof Tuple ? wanted.items : [wanted];
    return options.some((option) => {
      const name = wantText(method, option);
      return from <= to && (method === "startswith" ? part.startsWith(name) : part.endsWith(name));
    });
  };
}

const changed =
  (change: (text: string) => string): Method<Text> =>
  (value, args) => {
    places("the method", [], args);
    return madeOf(change(textOf(value)), value);
  };
const tested =
  (test: (text: string) => boolean): Method<Text> =>
  (value, args) => {
    places("the method", [], args);
    return test(textOf(value));
  };
const stripping =
  (method: string, left: boolean, right: boolean): Method<Text> =>
  (value, args) => {
    const [characters] = places(method, ["chars"], args);
    return strip(
      value,
      characters === undefined || characters === null ? null : wantText(method, characters),
      left,
      right,
    );
  };
const splitting =
  (method: string, fromRight: boolean): Method<Text> =>
  (value, args) => {
    const [separator, most] = bind(method, ["sep", "maxsplit"], args);
    return split(
      value,
      separator === undefined || separator === null ? null : wantText(method, separator),
      wantWhole(method, most, -1),
      fromRight,
    );
  };
const padding =
  (method: string, side: "left" | "right" | "center"): Method<Text> =>
  (value, args, budget) => {
    const [width, fill] = places(method, ["width", "fillchar"], args);
    return pad(value, wantWhole(method, width), fill === undefined ? " " : wantText(method, fill), side, budget);
  };
const partition =
  (method: string, last: boolean): Method<Text> =>
  (value, args) => {
    const [separator] = places(method, ["sep"], args);
    const wanted = wantText(method, separator);
    if (wanted === "") throw new TemplateError("empty separator");
    const text = textOf(value);
    const at = last ? text.lastIndexOf(wanted) : text.indexOf(wanted);
    if (at < 0) return new Tuple(last ? ["", "", value] : [value, "", ""]);
    const behind = at + wanted.length;
    return new Tuple([sliceOf(value, 0, at), sliceOf(value, at, behind), sliceOf(value, behind, text.length)]);
  };

const textMethods: Record<string, Method<Text>> = {
  capitalize: changed(capitalize),
  casefold: changed((text) => [...text].map((c) => (c === "ı" ? c : c.toUpperCase().toLowerCase())).join("")),
  center: padding("center", "center"),
  count(value, args) {
    const [wanted, start, end] = places("count", ["sub", "start", "end"], args);
    const text = textOf(value);
    const [from, to] = range(text, start, end, "count");
    const part = text.slice(from, to);
    const name = wantText("count", wanted);
    return name === "" ? lengthOf(part) + 1 : part.split(name).length - 1;
  },
  endswith: ends("endswith"),
  expandtabs(value, args, budget) {
    const [size] = bind("expandtabs", ["tabsize"], args);
    const width = wantWhole("expandtabs", size, 8);
    let column = 0;
    let out = "";
    for (const char of textOf(value)) {
      if (char === "\t") {
        const fill = width > 0 ? width - (column % width) : 0;
        budget.make(fill);
        out += " ".repeat(fill);
        column += fill;
      } else {
        out += char;
        column = char === "\n" || char === "\r" ? 0 : column + 1;
      }
    }
    return madeOf(out, value);
  },
  find: find("find", false, false),
  format: (value, args, budget) => formatBraces(value, args, budget),
  index: find("index", false, true),
  isalnum: tested((text) => every(text, /[\p{L}\p{N}]/u)),
  isalpha: tested((text) => every(text, /\p{L}/u)),
  isascii: tested((text) => [...text].every((char) => char <= "\x7f")),
  isdecimal: tested((text) => every(text, /\p{Nd}/u)),
  isdigit: tested((text) => every(text, /[\p{Nd}\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468]/u)),
  islower: tested(isLower),
  isnumeric: tested((text) => every(text, /\p{N}/u)),
  isspace: tested((text) => every(text, space)),
  istitle: tested((text) => cased.test(text) && title(text) === text),
  isupper: tested(isUpper),
  join(value, args, budget) {
    const [list] = places("join", ["iterable"], args);
    const parts = iterate(list ?? null).map((part, i) => {
      if (!isText(part)) throw new TemplateError(`sequence item ${i}: expected str instance, ${typeName(part)} found`);
      return part;
    });
    return join(value, parts, budget);
  },
  ljust: padding("ljust", "left"),
  lower: changed((text) => text.toLowerCase()),
  lstrip: stripping("lstrip", true, false),
  partition: partition("partition", false),
  removeprefix(value, args) {
    const name = wantText("removeprefix", places("removeprefix", ["prefix"], args)[0]);
    return textOf(value).startsWith(name) ? sliceOf(value, name.length, textOf(value).length) : value;
  },
  removesuffix(value, args) {
    const name = wantText("removesuffix", places("removesuffix", ["suffix"], args)[0]);
    return name !== "" && textOf(value).endsWith(name) ? sliceOf(value, 0, textOf(value).length - name.length) : value;
  },
  replace(value, args, budget) {
    const [old, by, count] = bind("replace", ["old", "new", "count"], args);
    wantText("replace", by);
    return replace(value, wantText("replace", old), by as Text, wantWhole("replace", count, -1), budget);
  },
  rfind: find("rfind", true, false),
  rindex: find("rindex", true, true),
  rjust: padding("rjust", "right"),
  rpartition: partition("rpartition", true),
  rsplit: splitting("rsplit", true),
  rstrip: stripping("rstrip", false, true),
  split: splitting("split", false),
  splitlines(value, args) {
    const [keep] = bind("splitlines", ["keepends"], args);
    const text = textOf(value);
    const lines: Text[] = [];
    let from = 0;
    for (const { 0: end, index } of text.matchAll(lineEnds)) {
      lines.push(sliceOf(value, from, keep !== undefined && isTrue(keep) ? index + end.length : index));
      from = index + end.length;
    }
    if (from < text.length) lines.push(sliceOf(value, from, text.length));
    return lines;
  },
  startswith: ends("startswith"),
  strip: stripping("strip", true, true),
  swapcase: changed((text) =>
    [...text].map((c) => (/\p{Lt}/u.test(c) ? c : isUpper(c) ? c.toLowerCase() : c.toUpperCase())).join(""),
  ),
  title: changed(title),
  upper: changed((text) => text.toUpperCase()),
  zfill(value, args, budget) {
    const width = wantWhole("zfill", places("zfill", ["width"], args)[0]);
    const sign = /^[+-]/.test(textOf(value)) ? 1 : 0;
    const missing = Math.max(0, width - lengthOf(textOf(value)));
    budget.make(missing);
    return concatenate([sliceOf(value, 0, sign), "0".repeat(missing), sliceOf(value, sign, textOf(value).length)]);
  },
};

/** A method without arguments. */
const plainly =
  (name: string, of: (value: Dict) => Value): Method<Dict> =>
  (value, args) => {
    places(name, [], args);
    return of(value);
  };
const dictMethods: Record<string, Method<Dict>> = {
  get(value, args) {
    const [key, fallback] = places("get", ["key", "default"], args);
    return value.get(keyOf(key ?? null)) ?? (value.has(keyOf(key ?? null)) ? null : (fallback ?? null));
  },
  items: plainly("items", (value) => [...value].map((entry) => new Tuple(entry))),
  keys: plainly("keys", (value) => [...value.keys()]),
  values: plainly("values", (value) => [...value.values()]),
  copy: plainly("copy", (value) => new Map(value)),
};

const listMethods: Record<string, Method<readonly Value[]>> = {
  count: (value, args) => {
    const [wanted] = places("count", ["value"], args);
    return value.filter((entry) => equal(entry, wanted ?? null)).length;
  },
  index: (value, args) => {
    const [wanted, start, stop] = places("index", ["value", "start", "stop"], args);
    const place = (at: Value | undefined, fallback: number) => {
      const whole = wantWhole("index", at, fallback);
      return whole < 0 ? Math.max(0, whole + value.length) : whole;
    };
    const [from, to] = [place(start, 0), place(stop, value.length)];
    const at = value.findIndex((entry, i) => i >= from && i < to && equal(entry, wanted ?? null));
    if (at < 0) throw new TemplateError("value is not in list");
    return at;
  },
};
const listCopy: Method<readonly Value[]> = (value) => [...value];

const changing: Record<string, readonly string[]> = {
  list: ["append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort"],
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
};

/** Strings are equal as keys whoever said them, and numbers whatever their kind. */
export const keyOf = (value: Value): Value => {
  if (isText(value)) return textOf(value);
  if (typeof value === "boolean") return Number(value);
  if (Array.isArray(value) || value instanceof Map) throw new TemplateError(`unhashable type: '${typeName(value)}'`);
  return value !== null && typeof value === "object" && "value" in value && Number.isInteger(value.value)
    ? value.value
    : value;
};

/** A value's method; undefined where it has none of that name. @throws TemplateError for one that changes the value */
export function methodOf(value: Value, name: string, budget: Budget): Callable | undefined {
  const of = <T>(methods: Record<string, Method<T>>, self: T) =>
    Object.hasOwn(methods, name) ? new Callable(name, (args) => methods[name](self, args, budget)) : undefined;
  const kind = typeName(value);
  if (changing[kind]?.includes(name))
    return new Callable(name, () => {
      throw new TemplateError(`access to attribute '${name}' of '${kind}' object is unsafe.`);
    });
  if (isText(value)) return of(textMethods, value);
  if (value instanceof Map) return of(dictMethods, value);
  if (Array.isArray(value)) return of(name === "copy" ? { copy: listCopy } : listMethods, value as readonly Value[]);
  if (value instanceof Tuple) return of(listMethods, value.items);
  return undefined;
}

/** @throws TemplateError where a value that is used is not there */
export function defined(value: Value): Value {
  if (value instanceof Undefined) throw new TemplateError(value.message);
  return value;
}
