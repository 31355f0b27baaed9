/**
 * Runs a parsed Jinja template within a budget. A template comes with a model's file, so it may loop without end, double a
 * text until memory is gone, or call itself: each is refused by name, and the process lives on.
 *
 * Counted are steps (nodes evaluated), characters and list entries made, and nesting; what multiplies (`replace`, `join`,
 * `indent`, `tojson`) is measured before it is made. A deadline stands behind all of it. Called by chat-template.ts; the
 * interpreter itself is @huggingface/jinja's.
 */
import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { DataError } from "../platform/errors.ts";
import { withinTime } from "../platform/deadline.ts";

/** Nodes evaluated. The templates of known models take some hundred for each message. */
const maxSteps = 2_000_000;
/** Characters and list entries that one value may have, and that all of one rendering may make. A body has 1 MiB. */
const maxValueSize = 2 ** 24;
const maxMade = 2 ** 26;
/** Evaluations inside evaluations (macros that call macros), and lists inside lists. */
const maxDepth = 400;
const maxIndent = 64;
/** Of one rendering, milliseconds. */
const maxMs = 1000;

/** The library's nodes and values, as far as they matter here (its declarations do not resolve under Node's rules). */
interface Node {
  readonly type: string;
  readonly value?: unknown;
}
interface Value {
  readonly value: unknown;
}
interface LibraryInterpreter {
  evaluate(node: Node | undefined, environment: Environment): Value;
  run(program: unknown): Value;
}
const LibraryInterpreter = Interpreter as unknown as new (environment: Environment) => LibraryInterpreter;

/** A node whose value is known: stands in for an operand that was evaluated to be measured. */
interface Known extends Node {
  readonly known: Value;
}
const known = (value: Value): Known => ({ type: "Known", known: value });

/** Kinds of nodes that make new strings and lists; the others hand on what is there. */
const makers = new Set([
  "BinaryExpression",
  "FilterExpression",
  "FilterStatement",
  "CallExpression",
  "CallStatement",
  "ArrayLiteral",
  "TupleLiteral",
  "ObjectLiteral",
  "For",
]);
const multiplying = new Set(["replace", "join", "indent", "tojson"]);

/**
 * @param variables what the template speaks of
 * @throws DataError where a limit is passed; the template's own errors pass through
 */
export function runTemplate(template: Template, variables: Record<string, unknown>): string {
  const environment = new Environment();
  const budget = new Budget();
  for (const [name, value] of Object.entries({ ...globals(budget), ...variables })) environment.set(name, value);
  try {
    return withinTime(
      maxMs,
      () => "the template takes too long",
      () => String(new LimitedInterpreter(environment, budget).run(template.parsed).value),
    );
  } catch (cause) {
    // The engine's own words for a stack or a string that is full.
    if (cause instanceof RangeError)
      throw new DataError("the template nests too deep, or makes too long a text", { cause });
    throw cause;
  }
}

class Budget {
  private steps = 0;
  private made = 0;

  step(): void {
    if (++this.steps > maxSteps) throw new DataError(`the template takes more than ${maxSteps} steps`);
  }

  make(size: number): void {
    if (size > maxValueSize)
      throw new DataError(`the template makes a value of more than ${maxValueSize} characters or entries`);
    this.made += size;
    if (this.made > maxMade)
      throw new DataError(`the template makes more than ${maxMade} characters or entries in all`);
  }
}

/** Jinja's names that every template may use, as the library sets them, `range` within the budget. */
function globals(budget: Budget): Record<string, unknown> {
  const constants = { true: true, false: false, none: null, True: true, False: false, None: null };
  return {
    ...constants,
    raise_exception(message: string) {
      throw new Error(message);
    },
    range(start: number, stop?: number, step = 1) {
      const [from, to] = stop === undefined ? [0, start] : [start, stop];
      if (step === 0) throw new Error("range() step must not be zero");
      const count = Math.max(0, Math.ceil((to - from) / step));
      budget.make(Number.isFinite(count) ? count : Number.POSITIVE_INFINITY);
      return Array.from({ length: count }, (_, i) => from + i * step);
    },
    // The library does not export its own; a template of ours asks it.
    strftime_now: (format: string) => new Template("{{ strftime_now(format) }}").render({ format }),
  };
}

class LimitedInterpreter extends LibraryInterpreter {
  private depth = 0;
  private readonly measured = new WeakMap<object, { size: number; depth: number }>();

  constructor(
    environment: Environment,
    private readonly budget: Budget,
  ) {
    super(environment);
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node && "known" in node) return (node as Known).known;
    this.budget.step();
    if (this.depth >= maxDepth) throw new DataError(`the template nests more than ${maxDepth} evaluations`);
    this.depth++;
    try {
      const value = super.evaluate(node && this.measuredFirst(node, environment), environment);
      if (node && makers.has(node.type)) {
        const { size, shallow } = this.sizeOf(value);
        if (size > maxValueSize) this.budget.make(size);
        this.budget.make(shallow);
      }
      return value;
    } finally {
      this.depth--;
    }
  }

  /** A node that multiplies, with its operands evaluated and found small enough; any other as it is. */
  private measuredFirst(node: Node, environment: Environment): Node {
    const { type } = node;
    if (type === "FilterExpression" || type === "FilterStatement") {
      const { operand, filter, body } = node as Node & { operand?: Node; filter: Node; body?: Node[] };
      const call = filter as Node & { callee?: Node; args?: Node[] };
      if (!multiplying.has(nameOf(call.callee ?? call))) return node;
      const block = { type: "Program", body } as Node;
      const on = this.evaluate(type === "FilterStatement" ? block : operand, environment);
      const parts = this.evaluated(call.args ?? [], environment);
      this.checkProduct(nameOf(call.callee ?? call), on, parts.values);
      const measured = call.args ? { ...call, args: parts.nodes } : call;
      return { type: "FilterExpression", operand: known(on), filter: measured } as Node;
    }
    if (type === "CallExpression") {
      const { callee, args } = node as Node & { callee: Node; args: Node[] };
      const member = callee as Node & { object: Node; property: Node; computed?: boolean };
      if (member.type !== "MemberExpression") return node;
      // A computed name may be any of them.
      if (!member.computed && !multiplying.has(nameOf(member.property))) return node;
      const on = this.evaluate(member.object, environment);
      const parts = this.evaluated(args, environment);
      this.checkProduct(member.computed ? "replace" : nameOf(member.property), on, parts.values);
      return { ...node, callee: { ...member, object: known(on) }, args: parts.nodes } as Node;
    }
    return node;
  }

  /** Arguments as nodes of known value. */
  private evaluated(args: readonly Node[], environment: Environment): { nodes: Node[]; values: Value[] } {
    const values: Value[] = [];
    const nodes = args.map((arg) => {
      const { value: inner, argument } = arg as Node & { value?: Node; argument?: Node };
      const named = arg.type === "KeywordArgumentExpression";
      const spread = arg.type === "SpreadExpression" || arg.type === "KeywordSpreadExpression";
      const value = this.evaluate(named ? inner : spread ? argument : arg, environment);
      values.push(value);
      const node = known(value);
      return named ? ({ ...arg, value: node } as Node) : spread ? ({ ...arg, argument: node } as Node) : node;
    });
    return { nodes, values };
  }

  /** An upper bound of what the call can make; lists given as spread arguments count whole. */
  private checkProduct(name: string, on: Value, args: readonly Value[]): void {
    const { size } = this.sizeOf(on);
    if (name === "indent" || name === "tojson") {
      const wide = args.find(
        ({ value }) => (typeof value === "number" ? value : this.sizeOf({ value }).size) > maxIndent,
      );
      if (wide) throw new DataError(`${name}: indents and separators of more than ${maxIndent} are not supported`);
      if (size * maxIndent > maxValueSize) this.budget.make(size * (name === "indent" ? maxIndent : 1));
      return;
    }
    const longest = args.reduce((most, arg) => Math.max(most, this.sizeOf(arg).size), 0);
    if (name === "join") {
      const entries = Array.isArray(on.value) ? on.value.length : size;
      this.budget.make(size + entries * longest);
    } else {
      const old = args.length > 0 && typeof args[0].value === "string" ? Math.max(1, args[0].value.length) : 1;
      const places = this.placesOf(on, args[0], old);
      this.budget.make(size + places * longest);
    }
  }

  /** How often the text to be replaced is there; counted where the bound by lengths alone would refuse. */
  private placesOf(on: Value, old: Value | undefined, length: number): number {
    if (typeof on.value !== "string") return 0;
    if (typeof old?.value !== "string" || old.value === "") return on.value.length + 1;
    let places = 0;
    for (let at = on.value.indexOf(old.value); at >= 0; at = on.value.indexOf(old.value, at + length)) places++;
    return places;
  }

  /** Characters and entries of a value with all that is in it, and of itself alone. */
  private sizeOf({ value }: { value: unknown }): { size: number; shallow: number } {
    if (typeof value === "string") return { size: value.length, shallow: value.length };
    if (!Array.isArray(value) && !(value instanceof Map)) return { size: 1, shallow: 0 };
    const { size } = this.measure(value);
    return { size, shallow: Array.isArray(value) ? value.length : value.size };
  }

  private measure(container: unknown[] | Map<unknown, unknown>): { size: number; depth: number } {
    // A namespace may change; lists do not.
    const before = this.measured.get(container);
    if (before) return before;
    let size = 1;
    let depth = 1;
    for (const entry of Array.isArray(container) ? container : container.entries()) {
      const [key, inner] = Array.isArray(container) ? ["", entry] : (entry as [string, unknown]);
      const { value } = inner as { value: unknown };
      size += 1 + String(key).length;
      if (typeof value === "string") size += value.length;
      else if (Array.isArray(value) || value instanceof Map) {
        const own = this.measure(value);
        size += own.size;
        depth = Math.max(depth, own.depth + 1);
      }
      if (depth > maxDepth) throw new DataError(`the template nests lists more than ${maxDepth} deep`);
    }
    const measured = { size, depth };
    if (Array.isArray(container)) this.measured.set(container, measured);
    return measured;
  }
}

const nameOf = (node: Node): string => String(node.value);
