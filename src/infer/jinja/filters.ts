/** jinja2's filters, with transformers' own `tojson`. Called by interpreter.ts; parser.ts asks for their names. */
import {
  choosing,
  extreme,
  type Filter,
  type FilterContext,
  folded,
  getter,
  lengthOfValue,
  multiGetter,
  number,
  rounded,
  sorted,
} from "./filter-parts.ts";
import { formatPercent } from "./format.ts";
import { indentText, toJson } from "./layout.ts";
import { bind, capitalize, defined, join, keyOf, pad, replace, strip, wantText, wantWhole } from "./methods.ts";
import { tellFilterNames } from "./tests.ts";
import {
  type CallArguments,
  charactersOf,
  concatenate,
  equal,
  Float,
  Generator,
  isNumber,
  isText,
  isTrue,
  iterate,
  lengthOf,
  madeOf,
  numberOf,
  sliceOf,
  TemplateError,
  textOf,
  toPlain,
  toText,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };
const escapeHtml: Filter = (value) =>
  madeOf(
    toPlain(value).replace(/[&<>"']/g, (char) => escapes[char]),
    value,
  );

const filters: Record<string, Filter> = {
  abs: (value) => (value instanceof Float ? new Float(Math.abs(value.value)) : Math.abs(number(value))),
  attr(value, args, context) {
    const name = wantText("attr", bind("attr", ["name"], args)[0]);
    return context.own(value, name) ?? new Undefined(`'${typeName(value)}' object has no attribute '${name}'`);
  },
  batch(value, args) {
    const [count, fill] = bind("batch", ["linecount", "fill_with"], args);
    const size = wantWhole("batch", count);
    if (size < 1) throw new TemplateError("batch: expected a size from 1");
    const list = iterate(value);
    const rows: Value[][] = [];
    for (let at = 0; at < list.length; at += size) rows.push(list.slice(at, at + size));
    if (fill !== undefined && fill !== null) {
      const last = rows.at(-1);
      while (last && last.length < Math.min(size, 2 ** 20)) last.push(fill);
    }
    return new Generator(rows);
  },
  capitalize: (value) => madeOf(capitalize(toPlain(value)), value),
  center: (value, args, { budget }) =>
    pad(toText(value), wantWhole("center", bind("center", ["width"], args)[0], 80), " ", "center", budget),
  count: (value) => lengthOfValue(value),
  default(value, args) {
    const [fallback, falsy] = bind("default", ["default_value", "boolean"], args);
    return value instanceof Undefined || (isTrue(falsy ?? false) && !isTrue(value)) ? (fallback ?? "") : value;
  },
  dictsort(value, args) {
    const [caseSensitive, by, reverse] = bind("dictsort", ["case_sensitive", "by", "reverse"], args);
    if (!(value instanceof Map)) throw new TemplateError(`'${typeName(value)}' object has no attribute 'items'`);
    const place = by === undefined || toPlain(by) === "key" ? 0 : toPlain(by) === "value" ? 1 : -1;
    if (place < 0) throw new TemplateError("You can only sort by either 'key' or 'value'");
    const pairs = [...value].map((entry) => new Tuple(entry));
    return sorted(
      pairs,
      (pair) => folded((pair as Tuple).items[place], isTrue(caseSensitive ?? false)),
      isTrue(reverse ?? false),
    );
  },
  escape: escapeHtml,
  first(value) {
    const [first] = iterate(value);
    return first === undefined ? new Undefined("No first item, sequence was empty.") : first;
  },
  float(value, args) {
    const [fallback] = bind("float", ["default"], args);
    defined(value);
    if (isNumber(value)) return new Float(numberOf(value));
    const text = isText(value) ? textOf(value).trim().replaceAll("_", "") : "";
    const special = /^[+-]?(inf|infinity|nan)$/i.exec(text);
    if (special)
      return new Float(
        /nan/i.test(text) ? Number.NaN : text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
      );
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? new Float(Number(text)) : (fallback ?? new Float(0));
  },
  format(value, { positional, named }, { budget }) {
    if (positional.length > 0 && named.size > 0)
      throw new TemplateError("can't handle positional and keyword arguments at the same time");
    return formatPercent(toText(value), named.size > 0 ? new Map<Value, Value>(named) : new Tuple(positional), budget);
  },
  groupby(value, args, context) {
    const [attribute, fallback, caseSensitive] = bind("groupby", ["attribute", "default", "case_sensitive"], args);
    const get = getter(attribute ?? "", context, fallback);
    const key = (entry: Value) => folded(get(entry), isTrue(caseSensitive ?? false));
    const groups: { key: Value; grouper: Value; list: Value[] }[] = [];
    for (const entry of sorted(iterate(value), key, false)) {
      const last = groups.at(-1);
      if (last && equal(last.key, key(entry))) last.list.push(entry);
      else groups.push({ key: key(entry), grouper: get(entry), list: [entry] });
    }
    return groups.map(({ grouper, list }) => new Tuple([grouper, list], ["grouper", "list"]));
  },
  indent: indentText,
  int(value, args) {
    const [fallback, base] = bind("int", ["default", "base"], args);
    defined(value);
    if (isNumber(value)) return Number.isFinite(numberOf(value)) ? Math.trunc(numberOf(value)) : (fallback ?? 0);
    const text = isText(value) ? textOf(value).trim().replaceAll("_", "") : "";
    const radix = wantWhole("int", base, 10);
    const digits =
      radix === 16
        ? text.replace(/^([+-]?)0x/i, "$1")
        : radix === 8
          ? text.replace(/^([+-]?)0o/i, "$1")
          : radix === 2
            ? text.replace(/^([+-]?)0b/i, "$1")
            : text;
    const allowed = new RegExp(`^[+-]?[${"0123456789abcdefghijklmnopqrstuvwxyz".slice(0, radix)}]+$`, "i");
    if (allowed.test(digits)) return Number.parseInt(digits, radix);
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text))
      ? Math.trunc(Number(text))
      : (fallback ?? 0);
  },
  items(value) {
    if (value instanceof Undefined) return new Generator([]);
    if (!(value instanceof Map)) throw new TemplateError("Can only get item pairs from a mapping.");
    return new Generator([...value].map((entry) => new Tuple(entry)));
  },
  join(value, args, context) {
    const [separator, attribute] = bind("join", ["d", "attribute"], args);
    const get = attribute === undefined || attribute === null ? (entry: Value) => entry : getter(attribute, context);
    return join(
      toText(separator ?? ""),
      iterate(value).map((entry) => toText(get(entry))),
      context.budget,
    );
  },
  last(value) {
    if (value instanceof Generator) throw new TemplateError("'generator' object is not reversible");
    const last = iterate(value).at(-1);
    return last === undefined ? new Undefined("No last item, sequence was empty.") : last;
  },
  length: (value) => lengthOfValue(value),
  list: (value, _, { budget }) => {
    const list = [...iterate(value)];
    budget.make(list.length);
    return list;
  },
  lower: (value) => madeOf(toPlain(value).toLowerCase(), value),
  map(value, { positional, named }, context) {
    if (value instanceof Undefined) return new Generator([]);
    if (positional.length === 0 && named.has("attribute")) {
      const { attribute, default: fallback, ...more } = Object.fromEntries(named);
      if (Object.keys(more).length > 0)
        throw new TemplateError(`Unexpected keyword argument '${Object.keys(more)[0]}'`);
      return new Generator(iterate(value).map(getter(attribute, context, fallback)));
    }
    const [name, ...rest] = positional;
    if (name === undefined) throw new TemplateError("map requires a filter argument");
    const filter = wantText("map", name);
    return new Generator(iterate(value).map((entry) => runFilter(filter, entry, { positional: rest, named }, context)));
  },
  max: extreme(1),
  min: extreme(-1),
  reject: choosing(false, false),
  rejectattr: choosing(true, false),
  replace(value, args, { budget }) {
    const [old, by, count] = bind("replace", ["old", "new", "count"], args);
    if (old === undefined || by === undefined) throw new TemplateError("replace() is missing an argument");
    return replace(
      toText(value),
      toPlain(old),
      toText(by),
      count === undefined || count === null ? -1 : wantWhole("replace", count),
      budget,
    );
  },
  reverse: (value) =>
    isText(value) ? concatenate(charactersOf(value).reverse()) : new Generator([...iterate(value)].reverse()),
  round(value, args) {
    const [precision, method] = bind("round", ["precision", "method"], args);
    const name = method === undefined ? "common" : toPlain(method);
    if (!["common", "ceil", "floor"].includes(name)) throw new TemplateError("method must be common, ceil or floor");
    const result = rounded(number(value), wantWhole("round", precision, 0), name);
    return value instanceof Float || name !== "common" ? new Float(result) : result;
  },
  safe: (value) => toText(value),
  select: choosing(false, true),
  selectattr: choosing(true, true),
  slice(value, args) {
    const [count, fill] = bind("slice", ["slices", "fill_with"], args);
    const list = iterate(value);
    const slices = wantWhole("slice", count);
    if (slices < 1 || slices > 2 ** 20) throw new TemplateError("slice: expected a number of slices from 1");
    const least = Math.floor(list.length / slices);
    const more = list.length % slices;
    let offset = 0;
    return new Generator(
      Array.from({ length: slices }, (_, i) => {
        const start = offset + i * least;
        if (i < more) offset++;
        const part = list.slice(start, offset + (i + 1) * least);
        if (fill !== undefined && fill !== null && i >= more && more > 0) part.push(fill);
        return part;
      }),
    );
  },
  sort(value, args, context) {
    const [reverse, caseSensitive, attribute] = bind("sort", ["reverse", "case_sensitive", "attribute"], args);
    return sorted(
      iterate(value),
      multiGetter(attribute ?? null, context, isTrue(caseSensitive ?? false)),
      isTrue(reverse ?? false),
    );
  },
  string: (value) => toText(value),
  striptags: (value) =>
    madeOf(
      toPlain(value)
        .replace(/<!--[\s\S]*?-->/g, "")
        .replace(/<[^>]*>/g, "")
        .split(/\s+/u)
        .filter((word) => word !== "")
        .join(" "),
      value,
    ),
  sum(value, args, context) {
    const [attribute, start] = bind("sum", ["attribute", "start"], args);
    const get = attribute === undefined || attribute === null ? (entry: Value) => entry : getter(attribute, context);
    const list = [start ?? 0, ...iterate(value).map(get)];
    const total = list.reduce((sum: number, entry) => sum + number(entry), 0);
    return list.some((entry) => entry instanceof Float) ? new Float(total) : total;
  },
  title(value) {
    const text = toPlain(value);
    return madeOf(
      text.replace(/[^-\s({[<]+/gu, (word) => {
        const [first] = word;
        return first.toUpperCase() + word.slice(first.length).toLowerCase();
      }),
      value,
    );
  },
  tojson: toJson,
  trim(value, args) {
    const [characters] = bind("trim", ["chars"], args);
    return strip(
      toText(value),
      characters === undefined || characters === null ? null : wantText("trim", characters),
      true,
      true,
    );
  },
  truncate(value, args) {
    const [size, kill, end, leeway] = bind("truncate", ["length", "killwords", "end", "leeway"], args);
    const length = wantWhole("truncate", size, 255);
    const mark = end === undefined ? "..." : wantText("truncate", end);
    if (!isText(value)) {
      if (lengthOfValue(value) <= length + wantWhole("truncate", leeway, 5)) return value;
      throw new TemplateError(`truncate: expected a string, got ${typeName(value)}`);
    }
    const text = value;
    const characters = [...textOf(text)];
    if (characters.length <= length + wantWhole("truncate", leeway, 5)) return text;
    const kept = characters.slice(0, Math.max(0, length - lengthOf(mark))).join("");
    if (isTrue(kill ?? false)) return concatenate([sliceOf(text, 0, kept.length), mark]);
    const space = kept.lastIndexOf(" ");
    return concatenate([sliceOf(text, 0, space < 0 ? kept.length : space), mark]);
  },
  unique(value, args, context) {
    const [caseSensitive, attribute] = bind("unique", ["case_sensitive", "attribute"], args);
    const by = multiGetter(attribute ?? null, context, isTrue(caseSensitive ?? false));
    const seen = new Set<unknown>();
    return new Generator(
      iterate(value).filter((entry) => {
        const found = by(entry);
        const key = found instanceof Tuple ? JSON.stringify(found.items.map(toPlain)) : keyOf(found);
        if (seen.has(key)) return false;
        seen.add(key);
        return true;
      }),
    );
  },
  upper: (value) => madeOf(toPlain(value).toUpperCase(), value),
  urlencode(value) {
    const quote = (text: string, safe: string) =>
      [...new TextEncoder().encode(text)]
        .map((byte) => {
          const char = String.fromCharCode(byte);
          return /[\w.~-]/.test(char) || safe.includes(char)
            ? char
            : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
        })
        .join("");
    const pairs =
      value instanceof Map
        ? [...value]
        : !isText(value) && (Array.isArray(value) || value instanceof Tuple)
          ? iterate(value).map(iterate)
          : null;
    if (!pairs) return madeOf(quote(toPlain(value), "/"), value);
    if (pairs.some((pair) => pair.length !== 2))
      throw new TemplateError("urlencode: expected pairs of a name and a value");
    const plus = (entry: Value) => quote(toPlain(entry), "").replaceAll("%20", "+");
    return madeOf(pairs.map(([key, entry]) => `${plus(key)}=${plus(entry)}`).join("&"), value);
  },
  wordcount: (value) => toPlain(value).match(/[\p{L}\p{M}\p{N}_]+/gu)?.length ?? 0,
};
filters.d = filters.default;
filters.e = filters.escape;
filters.forceescape = filters.escape;
export const filterNames: ReadonlySet<string> = new Set(Object.keys(filters));
tellFilterNames(filterNames);

const withoutArguments = new Set(
  [
    "abs",
    "capitalize",
    "count",
    "escape",
    "e",
    "forceescape",
    "first",
    "items",
    "last",
    "length",
    "list",
    "lower",
  ].concat(["reverse", "safe", "string", "striptags", "upper", "title", "urlencode", "wordcount"]),
);

/** @throws TemplateError for a filter that there is not, or arguments that it does not take */
export function runFilter(name: string, value: Value, args: CallArguments, context: FilterContext): Value {
  if (!Object.hasOwn(filters, name)) throw new TemplateError(`no filter named '${name}'`);
  if (withoutArguments.has(name)) bind(name, [], args);
  // A value that is not there is an error to most; these say what comes in its place.
  return filters[name](value, args, context);
}
