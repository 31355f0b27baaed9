/**
 * A template's tokens to its tree: jinja2's grammar with the tags that transformers has (break, continue and generation
 * among them). Tags, filters and tests that are not known are refused here, when the model is opened. Called by
 * template.ts.
 */
import { filterNames } from "./filters.ts";
import { type Token, tokenize } from "./lexer.ts";
import type { Arguments, Expression, Parameter, Statement, Target } from "./syntax.ts";
import { testNames } from "./tests.ts";
import { TemplateError } from "./values.ts";

/** Of Python's string methods, those that nothing here runs. */
const unsupportedMethods = new Set(["encode", "translate", "maketrans", "format_map", "isidentifier", "isprintable"]);
const unsupportedFilters = ["filesizeformat", "pprint", "random", "urlize", "wordwrap", "xmlattr"];
const unsupportedTags = ["extends", "include", "import", "from", "autoescape", "trans", "do", "debug"];

/** @throws TemplateError */
export function parseTemplate(source: string): Statement[] {
  return new Parser(tokenize(source)).template();
}

/** Expressions in expressions. A stack of V8's has room for some thousand. */
const maxNesting = 200;

class Parser {
  private at = 0;
  private nesting = 0;

  constructor(private readonly tokens: Token[]) {}

  template(): Statement[] {
    const body = this.statements([]);
    if (this.at < this.tokens.length) throw this.fail("unexpected tag");
    return body;
  }

  private get token(): Token | undefined {
    return this.tokens[this.at];
  }

  private fail(message: string): TemplateError {
    const line = this.token?.line ?? this.tokens.at(-1)?.line;
    return new TemplateError(`${message}${line === undefined ? "" : ` (line ${line})`}`);
  }

  private is(kind: Token["kind"], text?: string): boolean {
    const { token } = this;
    return token?.kind === kind && (text === undefined || token.text === text);
  }

  private skip(kind: Token["kind"], text?: string): boolean {
    if (!this.is(kind, text)) return false;
    this.at++;
    return true;
  }

  private expect(kind: Token["kind"], text?: string): string {
    if (!this.is(kind, text)) {
      const came = this.token ? `'${this.token.text}'` : "the end of the template";
      throw this.fail(`expected ${text === undefined ? `a ${kind}` : `'${text}'`}, got ${came}`);
    }
    return this.tokens[this.at++].text;
  }

  /** Statements up to a tag of one of these names, whose name is the current token then. */
  private statements(ends: readonly string[]): Statement[] {
    if (++this.nesting > maxNesting) throw this.fail("it nests too deep");
    const body: Statement[] = [];
    for (; this.token; ) {
      if (this.is("text")) body.push({ type: "text", text: this.tokens[this.at++].text });
      else if (this.is("begin", "variable")) {
        this.at++;
        body.push({ type: "output", value: this.tuple() });
        this.expect("end", "variable");
      } else {
        this.expect("begin", "block");
        if (!this.is("name")) throw this.fail("tag name expected");
        if (ends.includes(this.token!.text)) {
          this.nesting--;
          return body;
        }
        const statement = this.statement(this.tokens[this.at++].text);
        this.expect("end", "block");
        body.push(statement);
      }
    }
    if (ends.length > 0) throw this.fail(`it ends amid a statement; is an ${ends[ends.length - 1]} missing?`);
    this.nesting--;
    return body;
  }

  /** The body of a tag, behind its end, up to its own closing tag, which is passed. */
  private body(end: string): Statement[] {
    this.expect("end", "block");
    const body = this.statements([end]);
    this.at++;
    return body;
  }

  private statement(tag: string): Statement {
    switch (tag) {
      case "if":
        return this.ifStatement();
      case "for":
        return this.forStatement();
      case "set": {
        const target = this.target(true);
        if (this.skip("operator", "=")) return { type: "set", target, value: this.tuple() };
        const filters = this.is("operator", "|") ? this.filters(null) : null;
        return { type: "set-block", target, filters, body: this.body("endset") };
      }
      case "with": {
        const bindings: [Target, Expression][] = [];
        while (!this.is("end")) {
          if (bindings.length > 0) this.expect("operator", ",");
          const target = this.target(false);
          this.expect("operator", "=");
          bindings.push([target, this.expression()]);
        }
        return { type: "with", bindings, body: this.body("endwith") };
      }
      case "macro": {
        const name = this.expect("name");
        const parameters = this.parameters();
        return { type: "macro", name, parameters, body: this.body("endmacro") };
      }
      case "call": {
        const parameters = this.is("operator", "(") ? this.parameters() : [];
        const call = this.expression();
        if (call.type !== "call") throw this.fail("expected a call");
        return { type: "call-block", parameters, call, body: this.body("endcall") };
      }
      case "filter":
        return { type: "filter-block", filters: this.filters(null, true), body: this.body("endfilter") };
      case "generation":
        return { type: "scope", body: this.body("endgeneration") };
      case "block": {
        const name = this.expect("name");
        this.expect("end", "block");
        const body = this.statements(["endblock"]);
        this.at++;
        this.skip("name", name);
        return { type: "scope", body };
      }
      case "break":
      case "continue":
        return { type: tag };
      default:
        throw this.fail(
          unsupportedTags.includes(tag) ? `the tag '${tag}' is not supported` : `encountered unknown tag '${tag}'`,
        );
    }
  }

  private ifStatement(): Statement {
    const branches: [Expression, Statement[]][] = [];
    for (;;) {
      const test = this.tuple(false);
      this.expect("end", "block");
      branches.push([test, this.statements(["elif", "else", "endif"])]);
      const tag = this.tokens[this.at++].text;
      if (tag === "elif") continue;
      const otherwise = tag === "else" ? this.body("endif") : [];
      return { type: "if", branches, otherwise };
    }
  }

  private forStatement(): Statement {
    const target = this.target(false);
    this.expect("name", "in");
    const over = this.tuple(false);
    const condition = this.skip("name", "if") ? this.expression() : null;
    const recursive = this.skip("name", "recursive");
    this.expect("end", "block");
    const body = this.statements(["else", "endfor"]);
    const otherwise = this.tokens[this.at++].text === "else" ? this.body("endfor") : [];
    return { type: "for", target, over, condition, body, otherwise, recursive };
  }

  private target(withAttribute: boolean): Target {
    const one = (): Target => {
      if (this.skip("operator", "(")) {
        const inner = this.target(withAttribute);
        this.expect("operator", ")");
        return inner;
      }
      const name = this.expect("name");
      if (withAttribute && this.skip("operator", "."))
        return { type: "attribute", of: name, name: this.expect("name") };
      return { type: "name", name };
    };
    const first = one();
    if (!this.is("operator", ",")) return first;
    const items = [first];
    while (this.skip("operator", ",")) {
      if (!this.is("name") && !this.is("operator", "(")) break;
      items.push(one());
    }
    return { type: "tuple", items };
  }

  private parameters(): Parameter[] {
    const parameters: Parameter[] = [];
    this.expect("operator", "(");
    while (!this.skip("operator", ")")) {
      if (parameters.length > 0) this.expect("operator", ",");
      const name = this.expect("name");
      const fallback = this.skip("operator", "=") ? this.expression() : null;
      if (fallback === null && parameters.some((before) => before.fallback))
        throw this.fail("non-default argument follows default argument");
      parameters.push({ name, fallback });
    }
    return parameters;
  }

  /** An expression, or several with commas between: a tuple. */
  private tuple(withCondition = true): Expression {
    const one = () => (withCondition ? this.expression() : this.or());
    const first = one();
    if (!this.is("operator", ",")) return first;
    const items = [first];
    while (this.skip("operator", ",")) {
      if (this.is("end") || this.is("operator", ")") || this.is("name", "if") || this.is("name", "recursive")) break;
      items.push(one());
    }
    return { type: "tuple", items };
  }

  private expression(): Expression {
    if (++this.nesting > maxNesting) throw this.fail("it nests too deep");
    let value = this.or();
    while (this.skip("name", "if")) {
      const test = this.or();
      const no = this.skip("name", "else") ? this.expression() : null;
      value = { type: "condition", test, yes: value, no };
    }
    this.nesting--;
    return value;
  }

  private binary(operators: readonly string[], kind: Token["kind"], next: () => Expression): Expression {
    let left = next();
    for (;;) {
      const operator = operators.find((each) => this.is(kind, each));
      if (operator === undefined) return left;
      this.at++;
      left = { type: "binary", operator, left, right: next() };
    }
  }

  private or(): Expression {
    return this.binary(["or"], "name", () => this.binary(["and"], "name", () => this.not()));
  }

  private not(): Expression {
    if (!this.is("name", "not")) return this.compare();
    if (++this.nesting > maxNesting) throw this.fail("it nests too deep");
    this.at++;
    const of = this.not();
    this.nesting--;
    return { type: "unary", operator: "not", of };
  }

  private compare(): Expression {
    const first = this.sum();
    const rest: [string, Expression][] = [];
    for (;;) {
      const operator = ["==", "!=", "<=", ">=", "<", ">"].find((each) => this.is("operator", each));
      if (operator !== undefined) {
        this.at++;
        rest.push([operator, this.sum()]);
      } else if (this.skip("name", "in")) rest.push(["in", this.sum()]);
      else if (this.is("name", "not") && this.tokens[this.at + 1]?.text === "in") {
        this.at += 2;
        rest.push(["not in", this.sum()]);
      } else break;
    }
    return rest.length === 0 ? first : { type: "compare", first, rest };
  }

  private sum(): Expression {
    return this.binary(["+", "-"], "operator", () => this.concat());
  }

  private concat(): Expression {
    const parts = [this.product()];
    while (this.skip("operator", "~")) parts.push(this.product());
    return parts.length === 1 ? parts[0] : { type: "concat", parts };
  }

  private product(): Expression {
    return this.binary(["*", "/", "//", "%"], "operator", () => this.binary(["**"], "operator", () => this.unary()));
  }

  private unary(withFilter = true): Expression {
    let value: Expression;
    const sign = (["-", "+"] as const).find((each) => this.is("operator", each));
    if (sign) {
      if (++this.nesting > maxNesting) throw this.fail("it nests too deep");
      this.at++;
      value = { type: "unary", operator: sign, of: this.unary(false) };
      this.nesting--;
    } else value = this.primary();
    value = this.postfix(value);
    return withFilter ? this.filters(value) : value;
  }

  private primary(): Expression {
    const { token } = this;
    if (!token) throw this.fail("unexpected end of template");
    this.at++;
    switch (token.kind) {
      case "name":
        if (/^(true|True)$/.test(token.text)) return { type: "constant", value: true };
        if (/^(false|False)$/.test(token.text)) return { type: "constant", value: false };
        if (/^(none|None)$/.test(token.text)) return { type: "constant", value: null };
        return { type: "name", name: token.text };
      case "string": {
        let value = token.text;
        while (this.is("string")) value += this.tokens[this.at++].text;
        return { type: "constant", value };
      }
      case "integer":
        return { type: "constant", value: Number(token.text.replaceAll("_", "")) };
      case "float":
        return { type: "float", value: Number(token.text.replaceAll("_", "")) };
      case "operator":
        if (token.text === "(") {
          if (this.skip("operator", ")")) return { type: "tuple", items: [] };
          const value = this.tuple();
          this.expect("operator", ")");
          return value;
        }
        if (token.text === "[") return { type: "list", items: this.items("]") };
        if (token.text === "{") return this.dict();
    }
    this.at--;
    throw this.fail(`unexpected '${token.text}'`);
  }

  private items(end: string): Expression[] {
    const items: Expression[] = [];
    while (!this.skip("operator", end)) {
      if (items.length > 0) {
        this.expect("operator", ",");
        if (this.skip("operator", end)) break;
      }
      items.push(this.expression());
    }
    return items;
  }

  private dict(): Expression {
    const entries: [Expression, Expression][] = [];
    while (!this.skip("operator", "}")) {
      if (entries.length > 0) {
        this.expect("operator", ",");
        if (this.skip("operator", "}")) break;
      }
      const key = this.expression();
      this.expect("operator", ":");
      entries.push([key, this.expression()]);
    }
    return { type: "dict", entries };
  }

  private postfix(of: Expression): Expression {
    for (;;) {
      if (this.skip("operator", ".")) {
        if (this.is("integer")) {
          of = { type: "item", of, key: { type: "constant", value: Number(this.expect("integer")) } };
          continue;
        }
        const name = this.expect("name");
        if (unsupportedMethods.has(name) && this.is("operator", "("))
          throw this.fail(`the method '${name}' is not supported`);
        of = { type: "attribute", of, name };
      } else if (this.skip("operator", "[")) of = this.subscript(of);
      else if (this.is("operator", "(")) of = { type: "call", of, args: this.callArguments() };
      else return of;
    }
  }

  private subscript(of: Expression): Expression {
    const part = () => (this.is("operator", ":") || this.is("operator", "]") ? null : this.expression());
    const start = part();
    if (this.skip("operator", ":")) {
      const stop = part();
      const step = this.skip("operator", ":") ? part() : null;
      this.expect("operator", "]");
      return { type: "slice", of, start, stop, step };
    }
    if (start === null) throw this.fail("expected subscript expression");
    const items = [start];
    while (this.skip("operator", ",")) items.push(this.expression());
    this.expect("operator", "]");
    return { type: "item", of, key: items.length === 1 ? start : { type: "tuple", items } };
  }

  private callArguments(): Arguments {
    const args: Arguments = { positional: [], named: [], spread: null, spreadNamed: null };
    this.expect("operator", "(");
    for (let first = true; !this.skip("operator", ")"); first = false) {
      if (!first) {
        this.expect("operator", ",");
        if (this.skip("operator", ")")) break;
      }
      if (this.skip("operator", "**")) args.spreadNamed = this.expression();
      else if (this.skip("operator", "*")) args.spread = this.expression();
      else if (
        this.is("name") &&
        this.tokens[this.at + 1]?.text === "=" &&
        this.tokens[this.at + 1].kind === "operator"
      ) {
        const name = this.expect("name");
        this.at++;
        args.named.push([name, this.expression()]);
      } else {
        if (args.named.length > 0 || args.spreadNamed) throw this.fail("invalid syntax for function call expression");
        args.positional.push(this.expression());
      }
    }
    return args;
  }

  private dottedName(): string {
    let name = this.expect("name");
    while (this.skip("operator", ".")) name += `.${this.expect("name")}`;
    return name;
  }

  /** Filters, tests and calls behind a value; of null, filters alone, the first perhaps without its bar. */
  private filters(value: Expression | null, startsInline = false): Expression {
    let of = value;
    let inline = startsInline;
    for (;;) {
      if (inline || this.skip("operator", "|")) {
        inline = false;
        const name = this.dottedName();
        if (!filterNames.has(name))
          throw this.fail(
            unsupportedFilters.includes(name) ? `the filter '${name}' is not supported` : `no filter named '${name}'`,
          );
        const args = this.is("operator", "(") ? this.callArguments() : noArguments;
        of = { type: "filter", of, name, args };
      } else if (value !== null && this.skip("name", "is")) of = this.test(of!);
      else if (value !== null && this.is("operator", "(")) of = { type: "call", of: of!, args: this.callArguments() };
      else return of!;
    }
  }

  private test(of: Expression): Expression {
    const negated = this.skip("name", "not");
    const name = this.dottedName();
    if (!testNames.has(name)) throw this.fail(`no test named '${name}'`);
    let args = noArguments;
    if (this.is("operator", "(")) args = this.callArguments();
    else if (this.startsArgument()) args = { ...noArguments, positional: [this.postfix(this.primary())] };
    if (this.is("name", "is")) throw this.fail("do not chain multiple tests with is");
    return { type: "test", of, name, args, negated };
  }

  private startsArgument(): boolean {
    const { token } = this;
    if (token?.kind === "operator") return token.text === "[" || token.text === "{";
    if (token?.kind === "name") return !["else", "or", "and", "is"].includes(token.text);
    return token?.kind === "string" || token?.kind === "integer" || token?.kind === "float";
  }
}

const noArguments: Arguments = { positional: [], named: [], spread: null, spreadNamed: null };
