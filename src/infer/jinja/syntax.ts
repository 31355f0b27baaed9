/** The tree of a template, as parser.ts makes it and interpreter.ts walks it. */

export type Expression =
  | { type: "constant"; value: string | number | boolean | null }
  | { type: "float"; value: number }
  | { type: "name"; name: string }
  | { type: "list" | "tuple"; items: Expression[] }
  | { type: "dict"; entries: [Expression, Expression][] }
  | { type: "attribute"; of: Expression; name: string }
  | { type: "item"; of: Expression; key: Expression }
  | { type: "slice"; of: Expression; start: Expression | null; stop: Expression | null; step: Expression | null }
  | { type: "call"; of: Expression; args: Arguments }
  | { type: "filter"; of: Expression | null; name: string; args: Arguments }
  | { type: "test"; of: Expression; name: string; args: Arguments; negated: boolean }
  | { type: "unary"; operator: "-" | "+" | "not"; of: Expression }
  | { type: "binary"; operator: string; left: Expression; right: Expression }
  | { type: "concat"; parts: Expression[] }
  | { type: "compare"; first: Expression; rest: [operator: string, Expression][] }
  | { type: "condition"; test: Expression; yes: Expression; no: Expression | null };

export interface Arguments {
  positional: Expression[];
  named: [string, Expression][];
  /** `*list` and `**dict`. */
  spread: Expression | null;
  spreadNamed: Expression | null;
}

export type Target =
  | { type: "name"; name: string }
  | { type: "attribute"; of: string; name: string }
  | { type: "tuple"; items: Target[] };

export interface Parameter {
  name: string;
  fallback: Expression | null;
}

export type Statement =
  | { type: "text"; text: string }
  | { type: "output"; value: Expression }
  | { type: "if"; branches: [Expression, Statement[]][]; otherwise: Statement[] }
  | {
      type: "for";
      target: Target;
      over: Expression;
      condition: Expression | null;
      body: Statement[];
      otherwise: Statement[];
      recursive: boolean;
    }
  | { type: "set"; target: Target; value: Expression }
  | { type: "set-block"; target: Target; filters: Expression | null; body: Statement[] }
  | { type: "with"; bindings: [Target, Expression][]; body: Statement[] }
  | { type: "macro"; name: string; parameters: Parameter[]; body: Statement[] }
  | { type: "call-block"; parameters: Parameter[]; call: Expression; body: Statement[] }
  | { type: "filter-block"; filters: Expression; body: Statement[] }
  | { type: "scope"; body: Statement[] }
  | { type: "break" | "continue" };
