/**
 * Arithmetic: lines such as `25 + 17 = 42`, `3 - 10 = -7`, `12 * 34 = 408`, `17 // 5 = 3`.
 *
 * Whole numbers; `//` divides and rounds down. Held out by problem: `a + b` and `b + a` are one problem, and so are
 * `a * b` and `b * a`, so the split cannot be passed by learning that order does not matter.
 */
import { UsageError } from "../../platform/errors.ts";
import { createRandom } from "../../platform/random.ts";
import { answerLine, drawSplit, isHeldOutForm, type ProblemSet } from "./problem-set.ts";

export type ArithmeticOperator = "+" | "-" | "*" | "//";

/** Operands are drawn uniformly from these ranges, both ends included; operators by weight. */
export const arithmeticRanges: Record<
  ArithmeticOperator,
  { left: [number, number]; right: [number, number]; weight: number }
> = {
  // Two digits, and 100, so that change from a hundred can be asked.
  "+": { left: [0, 100], right: [0, 100], weight: 3 },
  "-": { left: [0, 100], right: [0, 100], weight: 3 },
  "*": { left: [0, 99], right: [0, 99], weight: 1 },
  "//": { left: [0, 999], right: [1, 99], weight: 1 },
};

/** Always held out, so that what the quickstart answers at its end was never in its training text. */
const demonstrated = ["17 + 25", "100 - 35"];

interface Problem {
  left: number;
  operator: ArithmeticOperator;
  right: number;
}

function parse(problem: string): Problem {
  const match = /^(\d+) (\+|-|\*|\/\/) (\d+)$/.exec(problem);
  if (!match) throw new UsageError(`"${problem}" is not an arithmetic problem; expected one such as "25 + 17"`);
  const [left, right] = [Number(match[1]), Number(match[3])];
  if (left > 1e6 || right > 1e6) throw new UsageError(`"${problem}": operands go up to 1000000 here`);
  if (match[2] === "//" && right === 0) throw new UsageError(`"${problem}" divides by zero`);
  return { left, operator: match[2] as ArithmeticOperator, right };
}

function solve({ left, operator, right }: Problem): number {
  if (operator === "+") return left + right;
  if (operator === "-") return left - right;
  if (operator === "*") return left * right;
  return Math.floor(left / right); // exact below 2^53
}

/** The spelling under which a problem is held out: operands sorted where their order does not matter. */
function canonical({ left, operator, right }: Problem): string {
  const swap = (operator === "+" || operator === "*") && left > right;
  return swap ? `${right} ${operator} ${left}` : `${left} ${operator} ${right}`;
}

/**
 * The set over some of the operators (default all four).
 *
 * A problem is its left side, `25 + 17`; the prompt is `25 + 17 = ` and the answer `42`. 17 characters in all, so a
 * character vocabulary of 32 has room for them and the end-of-text token.
 */
export function createArithmetic(operators: readonly ArithmeticOperator[] = ["+", "-", "*", "//"]): ProblemSet {
  const known = Object.keys(arithmeticRanges);
  for (const operator of operators)
    if (!known.includes(operator))
      throw new UsageError(`unknown arithmetic operator "${operator}"; operators are: ${known.join(" ")}`);
  if (operators.length === 0) throw new UsageError(`name at least one arithmetic operator of: ${known.join(" ")}`);
  const weights = operators.map((operator) => arithmeticRanges[operator].weight);
  const total = weights.reduce((a, b) => a + b, 0);
  const set: ProblemSet = {
    name: "arithmetic",
    identity: `arithmetic:1:${operators.join("")}`,
    characters: "0123456789 +-*/=\n",
    generate: (split, seed) =>
      drawSplit(set, split, createRandom(seed), (random) => {
        let at = random.integer(total);
        let i = 0;
        while (at >= weights[i]) at -= weights[i++];
        const { left, right } = arithmeticRanges[operators[i]];
        const within = ([low, high]: [number, number]) => low + random.integer(high - low + 1);
        return `${within(left)} ${operators[i]} ${within(right)}`;
      }),
    isHeldOut(problem) {
      const form = canonical(parse(problem));
      return demonstrated.includes(form) || isHeldOutForm("arithmetic", form);
    },
    prompt: (problem) => `${problem} = `,
    answer: (problem) => String(solve(parse(problem))),
    check: (prompt, answer) =>
      answerLine(answer).trimStart() === String(solve(parse(prompt.replace(/ =\s*$/, "").trim()))),
  };
  return set;
}

export const arithmetic: ProblemSet = createArithmetic();
