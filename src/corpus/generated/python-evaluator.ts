/**
 * An exact evaluator for the small part of Python that python-subset.ts writes: whole numbers, lists of them,
 * assignment, `if`/`else`, `for ... in range(...)`, `print(...)`. What it accepts it answers as Python 3 does; all else
 * is refused by name, never guessed.
 */
import { UsageError } from "../../platform/errors.ts";

type Value = number | boolean | number[];

/** Python itself would raise this; the name is Python's ("ZeroDivisionError"). */
export class PythonError extends Error {
  override name = "PythonError";
}

/** A number that float64 cannot hold exactly; Python could go on. */
export class TooLargeError extends UsageError {
  override name = "TooLargeError";
}

/** Statements executed in all: a program of the set takes some tens. */
const maxSteps = 10_000;

interface Line {
  indent: number;
  text: string;
  number: number;
}

/** Runs a program and gives what it prints, a newline behind each print. */
export function runPython(source: string): string {
  const lines: Line[] = [];
  for (const [i, raw] of source.split("\n").entries()) {
    const text = raw.replace(/#.*$/, "").trimEnd();
    if (text.trim() === "") continue;
    const indent = text.length - text.trimStart().length;
    if (indent % 4 !== 0 || text.slice(0, indent).includes("\t"))
      throw refuse(i + 1, "indentation other than four spaces");
    lines.push({ indent, text: text.trim(), number: i + 1 });
  }
  const variables = new Map<string, Value>();
  let output = "";
  let steps = 0;

  /** Runs lines[from, to), which stand at `indent`. */
  function runBlock(from: number, to: number, indent: number): void {
    for (let at = from; at < to; ) {
      const line = lines[at];
      if (line.indent !== indent) throw refuse(line.number, "an unexpected indent");
      if (++steps > maxSteps) throw refuse(line.number, `more than ${maxSteps} steps`);
      const end = blockEnd(at, to);
      const block = (header: number, blockTo: number) => {
        if (header + 1 === blockTo) throw refuse(lines[header].number, "a block without lines");
        return () => runBlock(header + 1, blockTo, indent + 4);
      };
      const condition = /^if (.+):$/.exec(line.text);
      const loop = /^for ([a-z]+) in range\((.+)\):$/.exec(line.text);
      if (condition) {
        const then = block(at, end);
        const hasElse = end < to && lines[end].indent === indent && lines[end].text === "else:";
        const elseEnd = hasElse ? blockEnd(end, to) : end;
        const otherwise = hasElse ? block(end, elseEnd) : () => {};
        const value = evaluate(condition[1], variables, line.number);
        if (typeof value !== "boolean") throw refuse(line.number, "a condition that is not a comparison");
        if (value) then();
        else otherwise();
        at = elseEnd;
      } else if (loop) {
        const body = block(at, end);
        const bounds = splitArguments(loop[2]).map((text) =>
          whole(evaluate(text, variables, line.number), line.number),
        );
        if (bounds.length > 2) throw refuse(line.number, "range with a step");
        const [start, stop] = bounds.length === 1 ? [0, bounds[0]] : bounds;
        for (let i = start; i < stop; i++) {
          variables.set(loop[1], i);
          body();
        }
        at = end;
      } else {
        if (end !== at + 1) throw refuse(lines[at + 1].number, "an unexpected indent");
        runSimple(line);
        at = end;
      }
    }
  }

  function blockEnd(at: number, to: number): number {
    let end = at + 1;
    while (end < to && lines[end].indent > lines[at].indent) end++;
    return end;
  }

  function runSimple({ text, number }: Line): void {
    const print = /^print\((.*)\)$/.exec(text);
    const assign = /^([a-z]+) (\+|-|\*)?= (.+)$/.exec(text);
    if (print) output += `${show(evaluate(print[1], variables, number))}\n`;
    else if (assign) {
      const [, name, operator, right] = assign;
      if (keywords.has(name)) throw refuse(number, `"${name}" as a name`);
      // Python takes the old value first, then works out the right side.
      const old = operator ? read(name, variables) : undefined;
      const value = evaluate(right, variables, number);
      if (!operator) variables.set(name, value);
      else variables.set(name, binary(operator, whole(old!, number), whole(value, number), number));
    } else throw refuse(number, `"${text}"`);
  }

  runBlock(0, lines.length, 0);
  return output;
}

const keywords = new Set([
  "print",
  "for",
  "in",
  "if",
  "else",
  "range",
  "sum",
  "len",
  "max",
  "min",
  "and",
  "or",
  "not",
  "is",
]);

function refuse(line: number, what: string): UsageError {
  return new UsageError(`python subset, line ${line}: ${what} is not supported`);
}

function show(value: Value): string {
  if (Array.isArray(value)) return `[${value.join(", ")}]`;
  if (typeof value === "boolean") return value ? "True" : "False";
  return String(value);
}

function read(name: string, variables: ReadonlyMap<string, Value>): Value {
  const value = variables.get(name);
  if (value === undefined) throw new PythonError(`NameError: name '${name}' is not defined`);
  return value;
}

function whole(value: Value, line: number): number {
  // In Python True is 1; programs of the set do not use it so.
  if (typeof value !== "number") throw refuse(line, `arithmetic on ${show(value)}`);
  return value;
}

/** Python's integer operators, exact below 2^53: // rounds down, % has the sign of its right side. */
function binary(operator: string, a: number, b: number, line: number): number {
  if ((operator === "//" || operator === "%") && b === 0)
    throw new PythonError("ZeroDivisionError: integer division or modulo by zero");
  let value: number;
  if (operator === "+") value = a + b;
  else if (operator === "-") value = a - b;
  else if (operator === "*") value = a * b;
  else {
    const remainder = ((a % b) + b) % b;
    value = operator === "%" ? remainder : (a - remainder) / b;
  }
  if (!Number.isSafeInteger(value))
    throw new TooLargeError(`python subset, line ${line}: a number of 2^53 or more is not supported`);
  return value + 0; // -0 is 0
}

function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(" || text[i] === "[") depth++;
    if (text[i] === ")" || text[i] === "]") depth--;
    if (text[i] === "," && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...parts, text.slice(start)];
}

/** Value of an expression: comparison < sum < product < sign < index, call, parentheses, as in Python's grammar. */
function evaluate(text: string, variables: ReadonlyMap<string, Value>, line: number): Value {
  const tokens = text.match(/\d+|[A-Za-z_]\w*|\/\/|[<>=!]=|\S/g) ?? [];
  let at = 0;
  const accept = (...wanted: string[]): string | undefined =>
    at < tokens.length && wanted.includes(tokens[at]) ? tokens[at++] : undefined;
  const expect = (wanted: string): void => {
    if (!accept(wanted)) throw refuse(line, `"${text}" (expected "${wanted}")`);
  };

  function comparison(): Value {
    const left = sum();
    const operator = accept("<", ">", "<=", ">=", "==", "!=");
    if (!operator) return left;
    const a = whole(left, line);
    const b = whole(sum(), line);
    if (accept("<", ">", "<=", ">=", "==", "!=")) throw refuse(line, "a chain of comparisons");
    if (operator === "<") return a < b;
    if (operator === ">") return a > b;
    if (operator === "<=") return a <= b;
    if (operator === ">=") return a >= b;
    return operator === "==" ? a === b : a !== b;
  }
  function sum(): Value {
    let value = product();
    for (let operator = accept("+", "-"); operator; operator = accept("+", "-"))
      value = binary(operator, whole(value, line), whole(product(), line), line);
    return value;
  }
  function product(): Value {
    let value = signed();
    for (let operator = accept("*", "//", "%"); operator; operator = accept("*", "//", "%"))
      value = binary(operator, whole(value, line), whole(signed(), line), line);
    return value;
  }
  function signed(): Value {
    return accept("-") ? 0 - whole(signed(), line) : indexed();
  }
  function indexed(): Value {
    let value = atom();
    while (accept("[")) {
      if (!Array.isArray(value)) throw refuse(line, `an index into ${show(value)}`);
      const index = whole(comparison(), line);
      expect("]");
      const item = value.at(index);
      if (item === undefined) throw new PythonError("IndexError: list index out of range");
      value = item;
    }
    return value;
  }
  function list(close: string): Value[] {
    const values: Value[] = [];
    if (accept(close)) return values;
    do values.push(comparison());
    while (accept(","));
    expect(close);
    return values;
  }
  function atom(): Value {
    const token = tokens[at++];
    if (token === undefined) throw refuse(line, `"${text}"`);
    if (/^\d/.test(token)) {
      if (!/^(0|[1-9]\d{0,14})$/.test(token)) throw refuse(line, `the number ${token}`);
      return Number(token);
    }
    if (token === "(") {
      const value = comparison();
      expect(")");
      return value;
    }
    if (token === "[") return list("]").map((value) => whole(value, line));
    if (/^(sum|len|max|min)$/.test(token) && accept("(")) return call(token, list(")"));
    if (/^[a-z]+$/.test(token) && !keywords.has(token)) return read(token, variables);
    throw refuse(line, `"${token}"`);
  }
  function call(name: string, values: Value[]): number {
    const overList = values.length === 1 && Array.isArray(values[0]);
    if (!overList && (name === "sum" || name === "len" || values.length < 2)) throw refuse(line, `${name} of that`);
    const items = overList ? (values[0] as number[]) : values.map((value) => whole(value, line));
    if (name === "len") return items.length;
    if (name === "sum") return items.reduce((a, b) => binary("+", a, b, line), 0);
    if (items.length === 0) throw new PythonError(`ValueError: ${name}() of an empty list`);
    return name === "max" ? Math.max(...items) : Math.min(...items);
  }

  const value = comparison();
  if (at < tokens.length) throw refuse(line, `"${text}"`);
  return value;
}
