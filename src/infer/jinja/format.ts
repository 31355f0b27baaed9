/** Python's `"{}".format(...)` and `"%s" % ...`, as far as templates go: names, places, width, fill, precision. Called by methods.ts, filters.ts and interpreter.ts. */
import type { Budget } from "./budget.ts";
import {
  type CallArguments,
  concatenate,
  Float,
  formatFloat,
  isNumber,
  isText,
  lengthOf,
  numberOf,
  represent,
  type Said,
  TemplateError,
  textOf,
  toText,
  Tuple,
  typeName,
  type Value,
} from "./values.ts";

type Text = string | Said;

const grouped = (digits: string, mark: string) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, mark);

/** Python rounds half to even on the exact binary value, which toFixed does too. */
function fixed(value: number, precision: number): string {
  if (!Number.isFinite(value)) return formatFloat(value);
  return value.toFixed(Math.min(100, precision));
}

function general(value: number, precision: number): string {
  if (!Number.isFinite(value)) return formatFloat(value);
  if (value === 0) return "0";
  const digits = Math.max(1, precision);
  const power = Number(value.toExponential(digits - 1).split("e")[1]);
  if (power < -4 || power >= digits) {
    const [head, tail] = value.toExponential(digits - 1).split("e");
    return `${trimmed(head)}e${tail[0]}${tail.slice(1).padStart(2, "0")}`;
  }
  return trimmed(value.toFixed(Math.max(0, digits - 1 - power)));
}
const trimmed = (text: string) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const exponent = (value: number, precision: number) =>
  value.toExponential(Math.min(100, precision)).replace(/e([+-])(\d)$/, "e$10$2");

function number(value: number | Float | boolean, kind: string, precision: number | null): string {
  const n = numberOf(value);
  switch (kind) {
    case "d":
    case "i":
    case "u":
      return String(Math.trunc(n));
    case "f":
    case "F":
      return fixed(n, precision ?? 6);
    case "e":
    case "E":
      return kind === "E" ? exponent(n, precision ?? 6).toUpperCase() : exponent(n, precision ?? 6);
    case "g":
    case "G":
      return kind === "G" ? general(n, precision ?? 6).toUpperCase() : general(n, precision ?? 6);
    case "x":
      return Math.trunc(n).toString(16);
    case "X":
      return Math.trunc(n).toString(16).toUpperCase();
    case "o":
      return Math.trunc(n).toString(8);
    case "b":
      return Math.trunc(n).toString(2);
    case "%":
      return `${fixed(n * 100, precision ?? 6)}%`;
    default:
      throw new TemplateError(`Unknown format code '${kind}' for object of type '${typeName(value)}'`);
  }
}

function padded(text: Text, width: number, fill: string, align: string, budget: Budget): Text {
  const missing = width - lengthOf(textOf(text));
  if (missing <= 0) return text;
  budget.make(missing);
  if (align === "=") {
    const sign = /^[-+ ]/.test(textOf(text)) ? 1 : 0;
    return textOf(text).slice(0, sign) + fill.repeat(missing) + textOf(text).slice(sign);
  }
  const left = align === ">" ? missing : align === "^" ? Math.floor(missing / 2) : 0;
  return concatenate([fill.repeat(left), text, fill.repeat(missing - left)]);
}

const specPattern = /^(?:([\s\S])?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/u;

/** A value by a format's spec (PEP 3101). */
function bySpec(value: Value, spec: string, budget: Budget): Text {
  const match = specPattern.exec(spec);
  if (!match || match[4]) throw new TemplateError(`the format ${JSON.stringify(spec)} is not supported`);
  const [, fill, align, sign, , zero, width, comma, precision, kind] = match;
  const digits = precision === undefined ? null : Number(precision);
  let text: Text;
  let aligned = align;
  if (isNumber(value) && !(typeof value === "boolean" && (spec === "" || kind === "s"))) {
    const n = numberOf(value);
    const negative = n < 0 || Object.is(n, -0);
    const size = value instanceof Float ? new Float(Math.abs(n)) : Math.abs(n);
    let shown: string;
    if (kind) shown = number(size, kind, digits);
    else if (size instanceof Float) shown = digits === null ? formatFloat(size.value) : general(size.value, digits);
    else shown = String(size);
    if (comma) shown = shown.replace(/^\d+/, (whole) => grouped(whole, comma));
    text = (negative ? "-" : sign === "+" ? "+" : sign === " " ? " " : "") + shown;
    aligned ??= zero ? "=" : ">";
  } else {
    if (kind && kind !== "s")
      throw new TemplateError(`Unknown format code '${kind}' for object of type '${typeName(value)}'`);
    text = toText(value);
    if (digits !== null) text = [...textOf(text)].slice(0, digits).join("");
    aligned ??= "<";
  }
  return padded(text, Number(width ?? 0), fill ?? (zero ? "0" : " "), aligned, budget);
}

/** `"{} {name[0]:>5}".format(...)`. */
export function formatBraces(format: Text, { positional, named }: CallArguments, budget: Budget): Text {
  const parts: Text[] = [];
  let next = 0;
  const source = textOf(format);
  const pattern = /\{\{|\}\}|\{([^{}!:]*)(?:!([rsa]))?(?::([^{}]*))?\}|[{}]/g;
  let from = 0;
  for (const match of source.matchAll(pattern)) {
    parts.push(source.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[0] === "{{" || match[0] === "}}") {
      parts.push(match[0][0]);
      continue;
    }
    if (match[0] === "{" || match[0] === "}")
      throw new TemplateError(`Single '${match[0]}' encountered in format string`);
    const [, field, conversion, spec = ""] = match;
    const [, head, rest] = /^([^.[]*)(.*)$/.exec(field)!;
    let value: Value | undefined =
      head === "" ? positional[next++] : /^\d+$/.test(head) ? positional[Number(head)] : named.get(head);
    if (value === undefined)
      throw new TemplateError(
        head === "" || /^\d+$/.test(head) ? "Replacement index out of range" : `no argument '${head}'`,
      );
    for (const [, attribute, key] of rest.matchAll(/\.(\w+)|\[([^\]]*)\]/g)) {
      if (attribute !== undefined) throw new TemplateError(`attributes in formats (.${attribute}) are not supported`);
      value =
        value instanceof Map
          ? value.get(/^\d+$/.test(key) ? Number(key) : key)
          : Array.isArray(value)
            ? value[Number(key)]
            : undefined;
      if (value === undefined) throw new TemplateError(`no item '${key}' for the format`);
    }
    const shown =
      conversion === "r" || conversion === "a" ? represent(value) : conversion === "s" ? toText(value) : value;
    parts.push(bySpec(shown, spec, budget));
  }
  parts.push(source.slice(from));
  budget.make(parts.reduce((sum, part) => sum + textOf(part).length, 0));
  return concatenate(parts);
}

/** `"%s and %d" % (...)`. */
export function formatPercent(format: Text, values: Value, budget: Budget): Text {
  const list = values instanceof Tuple ? [...values.items] : [values];
  const byName = values instanceof Map ? values : null;
  const parts: Text[] = [];
  let next = 0;
  const source = textOf(format);
  let from = 0;
  for (const match of source.matchAll(/%(?:\((\w+)\))?([-+ 0#]*)(\*|\d+)?(?:\.(\d+))?([a-zA-Z%])?/g)) {
    parts.push(source.slice(from, match.index));
    from = match.index + match[0].length;
    const [, name, flags, width, precision, kind] = match;
    if (kind === "%") {
      parts.push("%");
      continue;
    }
    if (!kind || width === "*" || flags.includes("#"))
      throw new TemplateError(`the format '${match[0]}' is not supported`);
    const value = name === undefined ? list[next++] : byName?.get(name);
    if (value === undefined) throw new TemplateError("not enough arguments for format string");
    const digits = precision === undefined ? null : Number(precision);
    let text: Text;
    if (kind === "s" || kind === "r" || kind === "a") {
      text = kind === "s" ? toText(value) : represent(value);
      if (digits !== null) text = [...textOf(text)].slice(0, digits).join("");
    } else if (kind === "c" && isText(value)) text = value;
    else {
      if (!isNumber(value))
        throw new TemplateError(`%${kind} format: a real number is required, not ${typeName(value)}`);
      const n = numberOf(value);
      const sign = n < 0 ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
      text = sign + number(value instanceof Float ? new Float(Math.abs(n)) : Math.abs(n), kind, digits);
    }
    const zero = flags.includes("0") && !flags.includes("-") && isNumber(value) && kind !== "s" && kind !== "r";
    const align = flags.includes("-") ? "<" : zero ? "=" : ">";
    parts.push(padded(text, Number(width ?? 0), zero ? "0" : " ", align, budget));
  }
  if (!byName && !Array.isArray(values) && next < list.length)
    throw new TemplateError("not all arguments converted during string formatting");
  parts.push(source.slice(from));
  budget.make(parts.reduce((sum, part) => sum + textOf(part).length, 0));
  return concatenate(parts);
}
