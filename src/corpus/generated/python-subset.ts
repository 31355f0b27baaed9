/**
 * Small Python programs with what they print, as a comment behind them:
 *
 *     x = 7
 *     y = x * 3 - 2
 *     print(y % 5)
 *     # 4
 *
 * Four kinds: assignments, a condition, a loop, a list. Answers come from python-evaluator.ts. Held out by problem:
 * programs that differ only in the names of their variables are one problem.
 */
import { UsageError } from "../../platform/errors.ts";
import { createRandom, type Random } from "../../platform/random.ts";
import { answerLine, drawSplit, isHeldOutForm, type ProblemSet } from "./problem-set.ts";
import { PythonError, runPython, TooLargeError } from "./python-evaluator.ts";

const names = ["a", "b", "c", "d", "n", "m", "p", "q", "s", "t", "x", "y", "z"];
/** Programs with a longer answer, in absolute value, are drawn again: these are for small models. */
const largestAnswer = 9999;

const pick = <T>(random: Random, list: readonly T[]): T => list[random.integer(list.length)];

/** An expression over variables and small numbers; parentheses where precedence needs them. */
function expression(random: Random, variables: readonly string[], depth: number): string {
  const atom = () => (random.integer(3) > 0 ? pick(random, variables) : String(random.integer(21)));
  if (depth === 0 || random.integer(4) === 0) return atom();
  const operator = pick(random, ["+", "+", "-", "-", "*", "//", "%"]);
  if (operator === "+" || operator === "-") {
    const right = expression(random, variables, depth - 1);
    const safe = operator === "+" || !/[+-]/.test(right) ? right : `(${right})`;
    return `${expression(random, variables, depth - 1)} ${operator} ${safe}`;
  }
  const factor = () => {
    const text = expression(random, variables, depth - 1);
    return /^\w+(\(\w\)|\[-?\d\])?$/.test(text) ? text : `(${text})`;
  };
  return `${factor()} ${operator} ${operator === "*" ? factor() : String(1 + random.integer(9))}`;
}

/** An expression in which a variable occurs: a program whose answer stands in its last line asks nothing. */
function telling(random: Random, variables: readonly string[], depth: number): string {
  for (;;) {
    const text = expression(random, variables, depth);
    if (/[a-z]/.test(text)) return text;
  }
}

const comparison = (random: Random, variables: readonly string[]): string =>
  `${pick(random, variables)} ${pick(random, ["<", ">", "<=", ">=", "==", "!="])} ${expression(random, variables, 1)}`;

function drawProgram(random: Random): string {
  const free = [...names];
  const fresh = () => free.splice(random.integer(free.length), 1)[0];
  const [first, second] = [fresh(), fresh()];
  const constant = () => (random.integer(6) === 0 ? `-${1 + random.integer(20)}` : String(random.integer(31)));
  const start = [`${first} = ${constant()}`];
  const kind = random.integer(4);
  if (kind === 0) {
    const known = [first];
    for (let i = random.integer(3); i >= 0; i--) {
      const name = fresh();
      start.push(`${name} = ${expression(random, known, 2)}`);
      known.push(name);
    }
    return [...start, `print(${telling(random, known, 2)})`].join("\n");
  }
  if (kind === 1) {
    start.push(`${second} = ${expression(random, [first], 1)}`);
    const both = [first, second];
    const change = () =>
      `    ${pick(random, both)} ${pick(random, ["=", "+=", "-=", "*="])} ${expression(random, both, 1)}`;
    start.push(`if ${comparison(random, both)}:`, change());
    if (random.integer(2) === 0) start.push("else:", change());
    return [...start, `print(${telling(random, both, 1)})`].join("\n");
  }
  if (kind === 2) {
    const bounds =
      random.integer(2) === 0 ? String(1 + random.integer(6)) : `${random.integer(4)}, ${4 + random.integer(5)}`;
    const body = `${first} ${pick(random, ["+=", "-=", "+="])} ${expression(random, [second, first], 1)}`;
    start.push(`for ${second} in range(${bounds}):`);
    if (random.integer(3) === 0) start.push(`    if ${comparison(random, [second, first])}:`, `        ${body}`);
    else start.push(`    ${body}`);
    return [...start, `print(${first})`].join("\n");
  }
  const items = Array.from({ length: 2 + random.integer(4) }, () => random.integer(31));
  const index = random.integer(2) === 0 ? random.integer(items.length) : -1 - random.integer(items.length);
  const use = () =>
    pick(random, [`sum(${first})`, `len(${first})`, `max(${first})`, `min(${first})`, `${first}[${index}]`]);
  return `${first} = [${items.join(", ")}]\n${second} = ${use()}\nprint(${telling(random, [second, use()], 1)})`;
}

function draw(random: Random): string {
  for (;;) {
    const program = drawProgram(random);
    try {
      const printed = solve(program);
      if (Math.abs(Number(printed)) <= largestAnswer) return program;
    } catch (error) {
      // One that divides by zero or grows too large is drawn again; any other failure is ours.
      if (!(error instanceof PythonError || error instanceof TooLargeError)) throw error;
    }
  }
}

/** What the program prints. */
function solve(program: string): string {
  const output = runPython(program);
  const lines = output.split("\n");
  if (lines.length !== 2)
    throw new UsageError(`a program of this set prints once; this one printed ${lines.length - 1} times`);
  return lines[0];
}

/** The program with its variables renamed in the order in which they appear. */
function canonical(program: string): string {
  const renamed = new Map<string, string>();
  return program.replace(/\b[a-z]\b/g, (name) => {
    const known = renamed.get(name) ?? `v${renamed.size}`;
    renamed.set(name, known);
    return known;
  });
}

/** A problem is the program; the prompt adds a newline and `# `; the answer is what it prints. */
export const pythonSubset: ProblemSet = {
  name: "python",
  identity: "python:1",
  characters: "\n !#%()*+,-/0123456789:<=>[]abcdefgilmnopqrstuxyz",
  generate: (split, seed) => drawSplit(pythonSubset, split, createRandom(seed), draw),
  isHeldOut: (problem) => isHeldOutForm("python", canonical(problem)),
  prompt: (problem) => `${problem}\n# `,
  answer: solve,
  check: (prompt, answer) => answerLine(answer).trimStart() === solve(prompt.replace(/\n#\s*$/, "")),
};
