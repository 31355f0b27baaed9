/**
 * Runs a template's tree, with Python's and jinja2's rules: scopes, loops, macros, arithmetic, what a missing value does.
 * Called by template.ts.
 */
import { Access } from "./access.ts";
import { Budget } from "./budget.ts";
import type { FilterContext } from "./filter-parts.ts";
import { runFilter } from "./filters.ts";
import { formatPercent } from "./format.ts";
import { checkAttributeName, globals } from "./globals.ts";
import { defined, keyOf } from "./methods.ts";
import { arithmetic, compare } from "./operators.ts";
import type { Arguments, Expression, Parameter, Statement, Target } from "./syntax.ts";
import { runTest } from "./tests.ts";
import {
  type CallArguments,
  Callable,
  concatenate,
  equal,
  Float,
  isNumber,
  isText,
  isTrue,
  iterate,
  Namespace,
  numberOf,
  type Said,
  TemplateError,
  textOf,
  toText,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

type Text = string | Said;

class Scope {
  private readonly names = new Map<string, Value>();
  constructor(private readonly outer: Scope | null) {}

  get(name: string): Value {
    for (let scope: Scope | null = this; scope; scope = scope.outer) {
      const value = scope.names.get(name);
      if (value !== undefined) return value;
    }
    return new Undefined(`'${name}' is undefined`);
  }

  set(name: string, value: Value): void {
    this.names.set(name, value);
  }
}

/** What ends a loop's round or the loop. */
class LoopExit {
  constructor(readonly kind: "break" | "continue") {}
}

export class Interpreter implements FilterContext {
  readonly budget = new Budget();
  private readonly access = new Access(this.budget);
  private out: Text[] = [];

  /** @throws TemplateError, DataError */
  run(body: readonly Statement[], variables: ReadonlyMap<string, Value>): Text {
    const scope = new Scope(null);
    for (const [name, value] of globals(this.budget)) scope.set(name, value);
    for (const [name, value] of variables) scope.set(name, value);
    return this.captured(body, new Scope(scope));
  }

  private captured(body: readonly Statement[], scope: Scope): Text {
    const before = this.out;
    this.out = [];
    try {
      this.statements(body, scope);
      return concatenate(this.out);
    } finally {
      this.out = before;
    }
  }

  private put(text: Text): void {
    if (textOf(text) === "") return;
    this.budget.make(textOf(text).length);
    this.out.push(text);
  }

  private statements(body: readonly Statement[], scope: Scope): void {
    for (const statement of body) this.statement(statement, scope);
  }

  private statement(node: Statement, scope: Scope): void {
    this.budget.step();
    switch (node.type) {
      case "text":
        this.put(node.text);
        return;
      case "output":
        this.put(toText(this.evaluate(node.value, scope)));
        return;
      case "if": {
        for (const [test, body] of node.branches)
          if (isTrue(this.evaluate(test, scope))) {
            this.budget.within(() => this.statements(body, scope));
            return;
          }
        this.budget.within(() => this.statements(node.otherwise, scope));
        return;
      }
      case "for":
        this.budget.within(() => this.loop(node, this.evaluate(node.over, scope), scope, 0));
        return;
      case "set":
        this.assign(node.target, this.evaluate(node.value, scope), scope);
        return;
      case "set-block": {
        let value: Value = this.budget.within(() => this.captured(node.body, new Scope(scope)));
        if (node.filters) value = this.filtered(node.filters, value, scope);
        this.assign(node.target, value, scope);
        return;
      }
      case "with": {
        const inner = new Scope(scope);
        const values = node.bindings.map(([, value]) => this.evaluate(value, scope));
        for (const [i, [target]] of node.bindings.entries()) this.assign(target, values[i], inner);
        this.budget.within(() => this.statements(node.body, inner));
        return;
      }
      case "macro":
        scope.set(node.name, this.macro(node.name, node.parameters, node.body, scope));
        return;
      case "call-block": {
        const caller = this.macro("caller", node.parameters, node.body, scope);
        const { of, args } = node.call as Expression & { type: "call" };
        const callee = this.evaluate(of, scope);
        const given = this.arguments(args, scope);
        given.named.set("caller", caller);
        this.put(toText(this.call(callee, given)));
        return;
      }
      case "filter-block": {
        const text = this.budget.within(() => this.captured(node.body, new Scope(scope)));
        this.put(toText(this.filtered(node.filters, text, scope)));
        return;
      }
      case "scope":
        this.budget.within(() => this.statements(node.body, new Scope(scope)));
        return;
      default:
        throw new LoopExit(node.type);
    }
  }

  private assign(target: Target, value: Value, scope: Scope): void {
    if (target.type === "name") scope.set(target.name, value);
    else if (target.type === "attribute") {
      const namespace = scope.get(target.of);
      if (!(namespace instanceof Namespace)) throw new TemplateError("cannot assign attribute on non-namespace object");
      checkAttributeName(target.name);
      namespace.attributes.set(target.name, value);
    } else {
      const values = iterate(defined(value));
      if (values.length !== target.items.length)
        throw new TemplateError(
          values.length < target.items.length
            ? `not enough values to unpack (expected ${target.items.length}, got ${values.length})`
            : `too many values to unpack (expected ${target.items.length})`,
        );
      for (const [i, item] of target.items.entries()) this.assign(item, values[i], scope);
    }
  }

  private loop(node: Statement & { type: "for" }, over: Value, scope: Scope, depth: number): void {
    let items = iterate(over);
    if (node.condition) {
      const { condition } = node;
      items = items.filter((item) => {
        this.budget.step();
        const inner = new Scope(scope);
        this.assign(node.target, item, inner);
        return isTrue(this.evaluate(condition, inner));
      });
    }
    if (items.length === 0) {
      this.statements(node.otherwise, new Scope(scope));
      return;
    }
    let changedBefore: Value[] | null = null;
    for (let i = 0; i < items.length; i++) {
      this.budget.step();
      const inner = new Scope(scope);
      const fields: Record<string, Value> = {
        index: i + 1,
        index0: i,
        revindex: items.length - i,
        revindex0: items.length - i - 1,
        first: i === 0,
        last: i === items.length - 1,
        length: items.length,
        depth: depth + 1,
        depth0: depth,
        previtem: i > 0 ? items[i - 1] : new Undefined("there is no previous item"),
        nextitem: i + 1 < items.length ? items[i + 1] : new Undefined("there is no next item"),
        cycle: new Callable("cycle", ({ positional }) => {
          if (positional.length === 0) throw new TemplateError("no items for cycling given");
          return positional[i % positional.length];
        }),
        changed: new Callable("changed", ({ positional }) => {
          const same = changedBefore !== null && equal(changedBefore, positional);
          changedBefore = positional;
          return !same;
        }),
      };
      const recurse = ({ positional }: CallArguments): Value => {
        if (!node.recursive)
          throw new TemplateError("The loop must have the 'recursive' marker to be called recursively.");
        const before = this.out;
        this.out = [];
        try {
          this.budget.within(() => this.loop(node, positional[0] ?? null, scope, depth + 1));
          return concatenate(this.out);
        } finally {
          this.out = before;
        }
      };
      inner.set(
        "loop",
        new Callable("loop", recurse, (name) => (Object.hasOwn(fields, name) ? fields[name] : undefined)),
      );
      this.assign(node.target, items[i], inner);
      try {
        this.statements(node.body, inner);
      } catch (exit) {
        if (!(exit instanceof LoopExit)) throw exit;
        if (exit.kind === "break") break;
      }
    }
  }

  private macro(name: string, parameters: readonly Parameter[], body: readonly Statement[], scope: Scope): Callable {
    return new Callable(
      name,
      ({ positional, named }) =>
        this.budget.within(() => {
          const inner = new Scope(scope);
          const left = new Map(named);
          const speaksOf = (word: string) => JSON.stringify(body).includes(`"name":"${word}"`);
          for (const [i, parameter] of parameters.entries()) {
            let value = positional[i];
            if (left.has(parameter.name)) {
              if (value !== undefined)
                throw new TemplateError(`macro '${name}' got multiple values for argument '${parameter.name}'`);
              value = left.get(parameter.name)!;
              left.delete(parameter.name);
            }
            inner.set(
              parameter.name,
              value ??
                (value === undefined
                  ? parameter.fallback
                    ? this.evaluate(parameter.fallback, inner)
                    : new Undefined(`parameter '${parameter.name}' was not provided`)
                  : null),
            );
          }
          const caller = left.get("caller");
          if (caller !== undefined) {
            left.delete("caller");
            if (!speaksOf("caller"))
              throw new TemplateError(`macro '${name}' was invoked with two values for the special caller argument`);
          }
          inner.set("caller", caller ?? new Undefined("No caller defined"));
          const more = positional.slice(parameters.length);
          if (more.length > 0 && !speaksOf("varargs"))
            throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
          if (left.size > 0 && !speaksOf("kwargs"))
            throw new TemplateError(`macro '${name}' takes no keyword argument '${[...left.keys()][0]}'`);
          inner.set("varargs", new Tuple(more));
          inner.set("kwargs", new Map<Value, Value>(left));
          return this.captured(body, inner);
        }),
      (attribute) => {
        if (attribute === "name") return name;
        if (attribute === "arguments") return new Tuple(parameters.map((parameter) => parameter.name));
        return undefined;
      },
    );
  }

  private arguments({ positional, named, spread, spreadNamed }: Arguments, scope: Scope): CallArguments {
    const given: CallArguments = {
      positional: positional.map((arg) => this.evaluate(arg, scope)),
      named: new Map(named.map(([name, arg]) => [name, this.evaluate(arg, scope)])),
    };
    if (spread) given.positional.push(...iterate(this.evaluate(spread, scope)));
    if (spreadNamed) {
      const more = this.evaluate(spreadNamed, scope);
      if (!(more instanceof Map)) throw new TemplateError("argument after ** must be a mapping");
      for (const [name, value] of more) given.named.set(textOf(toText(name)), value);
    }
    return given;
  }

  private call(callee: Value, args: CallArguments): Value {
    if (callee instanceof Callable) return callee.call(args);
    defined(callee);
    throw new TemplateError(`'${typeName(callee)}' object is not callable`);
  }

  /** A chain of filters whose innermost operand is the block's text. */
  private filtered(node: Expression, text: Value, scope: Scope): Value {
    if (node.type !== "filter") return this.evaluate(node, scope);
    const on = node.of === null ? text : this.filtered(node.of, text, scope);
    return runFilter(node.name, on, this.arguments(node.args, scope), this);
  }

  own(value: Value, name: string): Value | undefined {
    return this.access.own(value, name);
  }

  item(value: Value, key: Value): Value {
    return this.access.item(value, key);
  }

  evaluate(node: Expression, scope: Scope): Value {
    this.budget.step();
    switch (node.type) {
      case "constant":
        return node.value;
      case "name":
        return scope.get(node.name);
      case "float":
        return new Float(node.value);
    }
    return this.budget.within(() => this.compound(node, scope));
  }

  private compound(
    node: Exclude<Expression, { type: "constant" } | { type: "name" } | { type: "float" }>,
    scope: Scope,
  ): Value {
    switch (node.type) {
      case "list":
        this.budget.make(node.items.length);
        return this.access.sized(node.items.map((item) => this.evaluate(item, scope)));
      case "tuple":
        return new Tuple(this.access.sized(node.items.map((item) => this.evaluate(item, scope))));
      case "dict":
        return new Map(
          node.entries.map(([key, value]) => [keyOf(this.evaluate(key, scope)), this.evaluate(value, scope)]),
        );
      case "attribute":
        return this.access.attribute(this.evaluate(node.of, scope), node.name);
      case "item":
        return this.access.item(this.evaluate(node.of, scope), this.evaluate(node.key, scope));
      case "slice":
        return this.slice(node, scope);
      case "call":
        return this.call(this.evaluate(node.of, scope), this.arguments(node.args, scope));
      case "filter":
        return runFilter(node.name, this.evaluate(node.of!, scope), this.arguments(node.args, scope), this);
      case "test":
        return runTest(node.name, this.evaluate(node.of, scope), this.arguments(node.args, scope)) !== node.negated;
      case "unary": {
        const value = this.evaluate(node.of, scope);
        if (node.operator === "not") return !isTrue(value);
        if (!isNumber(defined(value)))
          throw new TemplateError(`bad operand type for unary ${node.operator}: '${typeName(value)}'`);
        const number = numberOf(value as number);
        const signed = node.operator === "-" ? -number : number;
        return value instanceof Float ? new Float(signed) : signed + 0;
      }
      case "binary":
        return this.binary(node, scope);
      case "concat": {
        const parts = node.parts.map((part) => toText(this.evaluate(part, scope)));
        this.budget.make(parts.reduce((sum, part) => sum + textOf(part).length, 0));
        return concatenate(parts);
      }
      case "compare": {
        let left = this.evaluate(node.first, scope);
        for (const [operator, expression] of node.rest) {
          const right = this.evaluate(expression, scope);
          if (!compare(operator, left, right)) return false;
          left = right;
        }
        return true;
      }
      case "condition":
        if (isTrue(this.evaluate(node.test, scope))) return this.evaluate(node.yes, scope);
        return node.no
          ? this.evaluate(node.no, scope)
          : new Undefined("the inline if-expression evaluated to false and no else section was defined.");
    }
  }

  private slice(node: Expression & { type: "slice" }, scope: Scope): Value {
    const value = defined(this.evaluate(node.of, scope));
    const part = (expression: Expression | null): number | null => {
      const at = expression === null ? null : this.evaluate(expression, scope);
      if (at !== null && typeof at !== "number" && typeof at !== "boolean")
        throw new TemplateError("slice indices must be integers or None or have an __index__ method");
      return at === null ? null : Number(at);
    };
    return this.access.slice(value, part(node.start), part(node.stop), part(node.step) ?? 1);
  }

  private binary({ operator, left, right }: Expression & { type: "binary" }, scope: Scope): Value {
    const a = this.evaluate(left, scope);
    if (operator === "and") return isTrue(a) ? this.evaluate(right, scope) : a;
    if (operator === "or") return isTrue(a) ? a : this.evaluate(right, scope);
    const b = this.evaluate(right, scope);
    if (operator === "%" && isText(a)) return formatPercent(a, b, this.budget);
    defined(a);
    defined(b);
    if (operator === "+" && isText(a) && isText(b)) {
      this.budget.make(textOf(a).length + textOf(b).length);
      return concatenate([a, b]);
    }
    if (operator === "+" && Array.isArray(a) && Array.isArray(b)) {
      this.budget.make(a.length + b.length);
      return this.access.sized([...a, ...b]);
    }
    if (operator === "+" && a instanceof Tuple && b instanceof Tuple) {
      this.budget.make(a.items.length + b.items.length);
      return new Tuple([...a.items, ...b.items]);
    }
    if (operator === "*") {
      const [list, times] = isNumber(b) ? [a, b] : [b, a];
      if (typeof times === "number" || typeof times === "boolean") {
        const count = Math.max(0, Number(times));
        if (isText(list)) {
          this.budget.make(textOf(list).length * count);
          return typeof list === "string" ? list.repeat(count) : concatenate(Array<Text>(count).fill(list));
        }
        if (Array.isArray(list)) {
          this.budget.make(list.length * count);
          return this.access.sized(Array.from({ length: count }, () => list).flat());
        }
      }
    }
    if (isNumber(a) && isNumber(b)) return arithmetic(operator, a, b);
    throw new TemplateError(`unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`);
  }
}
