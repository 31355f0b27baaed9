/** Python's comparisons and arithmetic, for templates. Called by interpreter.ts. */
import { contains } from "./tests.ts";
import { equal, Float, numberOf, order, TemplateError, type Value } from "./values.ts";

export function compare(operator: string, a: Value, b: Value): boolean {
  switch (operator) {
    case "==":
      return equal(a, b);
    case "!=":
      return !equal(a, b);
    case "in":
      return contains(b, a);
    case "not in":
      return !contains(b, a);
    case "<":
      return order(a, b, operator) < 0;
    case "<=":
      return order(a, b, operator) <= 0;
    case ">":
      return order(a, b, operator) > 0;
    default:
      return order(a, b, operator) >= 0;
  }
}

export function arithmetic(operator: string, a: number | Float | boolean, b: number | Float | boolean): Value {
  const [x, y] = [numberOf(a), numberOf(b)];
  const isFloat = a instanceof Float || b instanceof Float;
  const result = (value: number): Value => {
    if (isFloat) return new Float(value);
    if (!Number.isSafeInteger(value)) throw new TemplateError("whole numbers beyond 2^53 are not supported");
    return value;
  };
  if ((operator === "/" || operator === "//" || operator === "%") && y === 0)
    throw new TemplateError(operator === "%" ? "integer modulo by zero" : "division by zero");
  switch (operator) {
    case "+":
      return result(x + y);
    case "-":
      return result(x - y);
    case "*":
      return result(x * y);
    case "/":
      return new Float(x / y);
    case "//":
      return result(Math.floor(x / y));
    case "%":
      return result(x - Math.floor(x / y) * y);
    default:
      return isFloat || y < 0 ? new Float(x ** y) : result(x ** y);
  }
}
