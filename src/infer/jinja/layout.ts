/** Filters that lay text out: transformers' own `tojson`, which is Python's json.dumps, and `indent`. Called by filters.ts. */
import { bind, defined, lineEnds, wantWhole } from "./methods.ts";
import {
  type CallArguments,
  concatenate,
  Float,
  formatFloat,
  isNumber,
  isText,
  isTrue,
  iterate,
  madeOf,
  type Said,
  sliceOf,
  TemplateError,
  textOf,
  toPlain,
  Tuple,
  typeName,
  type Value,
} from "./values.ts";

import { type FilterContext, sorted } from "./filter-parts.ts";

const maxIndent = 64;

/** json.dumps. */
export function toJson(value: Value, args: CallArguments, { budget }: FilterContext): Value {
  const [ascii, indent, separators, sort] = bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"], args);
  const pad =
    indent === undefined || indent === null
      ? null
      : isText(indent)
        ? textOf(indent)
        : " ".repeat(Math.max(0, Math.min(wantWhole("tojson", indent), maxIndent + 1)));
  let [between, colon] = [pad === null ? ", " : ",", ": "];
  if (separators !== undefined && separators !== null) [between, colon] = iterate(separators).map(toPlain);
  if ((pad ?? "").length > maxIndent || between.length > maxIndent || colon.length > maxIndent)
    throw new TemplateError(`tojson: indents and separators of more than ${maxIndent} are not supported`);
  const quoted = (text: string) => {
    budget.make(text.length);
    const json = JSON.stringify(text).replace(/\x7f/g, isTrue(ascii ?? false) ? "\\u007f" : "\x7f");
    return isTrue(ascii ?? false)
      ? json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      : json;
  };
  const keyText = (key: Value) => {
    if (isText(key)) return quoted(textOf(key));
    if (isNumber(key) || key === null) return `"${dump(key, 0)}"`;
    throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
  };
  const dump = (entry: Value, depth: number): string => {
    budget.step();
    if (depth > 400) throw new TemplateError("the template nests lists more than 400 deep");
    if (isText(entry)) return quoted(textOf(entry));
    if (entry === null) return "null";
    if (typeof entry === "boolean") return String(entry);
    if (typeof entry === "number") return String(entry);
    if (entry instanceof Float)
      return Number.isFinite(entry.value)
        ? formatFloat(entry.value)
        : Number.isNaN(entry.value)
          ? "NaN"
          : entry.value > 0
            ? "Infinity"
            : "-Infinity";
    const isDict = entry instanceof Map;
    if (!isDict && !Array.isArray(entry) && !(entry instanceof Tuple))
      throw new TemplateError(`Object of type ${typeName(entry)} is not JSON serializable`);
    let parts: string[];
    if (isDict) {
      const keys = isTrue(sort ?? false) ? sorted([...entry.keys()], (key) => key, false) : [...entry.keys()];
      parts = keys.map((key) => keyText(key) + colon + dump(entry.get(key)!, depth + 1));
    } else parts = iterate(entry).map((inner) => dump(inner, depth + 1));
    const [open, close] = isDict ? ["{", "}"] : ["[", "]"];
    if (parts.length === 0) return open + close;
    const lines = pad === null ? null : `\n${pad.repeat(depth + 1)}`;
    const text =
      lines === null
        ? open + parts.join(between) + close
        : `${open}${lines}${parts.join(between + lines)}\n${pad!.repeat(depth)}${close}`;
    budget.make(text.length);
    return text;
  };
  return madeOf(dump(value, 0), value);
}

export function indentText(value: Value, args: CallArguments, { budget }: FilterContext): Value {
  const [width, first, blank] = bind("indent", ["width", "first", "blank"], args);
  const by = isText(width ?? 4)
    ? textOf(width as string)
    : " ".repeat(Math.min(maxIndent + 1, wantWhole("indent", width, 4)));
  if (by.length > maxIndent)
    throw new TemplateError(`indent: indents and separators of more than ${maxIndent} are not supported`);
  if (!isText(value)) throw new TemplateError(`indent: expected a string, got ${typeName(defined(value))}`);
  const text = concatenate([value, "\n"]);
  const lines: (string | Said)[] = [];
  let from = 0;
  for (const { 0: end, index } of textOf(text).matchAll(lineEnds)) {
    lines.push(sliceOf(text, from, index));
    from = index + end.length;
  }
  budget.make(textOf(text).length + lines.length * by.length);
  const parts: (string | Said)[] = isTrue(first ?? false) ? [by] : [];
  for (const [i, line] of lines.entries()) {
    if (i > 0) parts.push(isTrue(blank ?? false) || textOf(line) !== "" ? `\n${by}` : "\n");
    parts.push(line);
  }
  return concatenate(parts);
}
