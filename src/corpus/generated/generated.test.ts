// Oracle: for Python, CPython 3.11, which ran the first 1000 training programs of seed 1 (the hash is of its answers) and
// the table; for JSON, jq 1.6 over the first 500 (hash likewise); for arithmetic, JavaScript's own exact integers over
// the whole space of problems.
import { expect, test } from "vitest";
import { UsageError } from "../../platform/errors.ts";
import { sha256Of } from "../../platform/hash.ts";
import {
  type ArithmeticOperator,
  arithmetic,
  arithmeticRanges,
  createArithmetic,
  jsonRecords,
  problemDocuments,
  problemSets,
  problemText,
  pythonSubset,
  take,
  takeDistinct,
} from "./index.ts";
import { queryRecord } from "./json-records.ts";
import { PythonError, runPython, TooLargeError } from "./python-evaluator.ts";

const sets = Object.values(problemSets);
const first = (set: (typeof sets)[number], split: "train" | "heldout", seed: number, count: number) => [
  ...take(set.generate(split, seed), count),
];

test.for(sets)("$name: a seed gives the same problems, another seed others, and answers check", (set) => {
  const problems = first(set, "train", 1, 300);
  expect(first(set, "train", 1, 300)).toEqual(problems);
  expect(first(set, "train", 2, 300)).not.toEqual(problems);
  for (const problem of [...problems, ...first(set, "heldout", 3, 100)]) {
    const [prompt, answer] = [set.prompt(problem), set.answer(problem)];
    expect(problemText(set, problem)).toBe(`${prompt}${answer}\n`);
    expect(answer).not.toContain("\n");
    expect(set.check(prompt, answer)).toBe(true);
    expect(set.check(prompt, `${answer} \nand so on`)).toBe(true);
    for (const wrong of ["", "what", `${answer}1`, `${answer},`, ` ${answer} ${answer}`, `-${answer}`])
      if (!(wrong === "-0" && answer === "0" && set.name === "json")) expect(set.check(prompt, wrong)).toBe(false);
  }
});

test.for(sets)("$name: no held-out problem is in the training text, and about one in ten is held out", (set) => {
  for (const problem of first(set, "train", 4, 500)) expect(set.isHeldOut(problem)).toBe(false);
  for (const problem of first(set, "heldout", 4, 200)) expect(set.isHeldOut(problem)).toBe(true);
  const train = new Set(first(set, "train", 5, 2000));
  expect(first(set, "heldout", 6, 200).filter((problem) => train.has(problem))).toEqual([]);
});

test.for(sets)("$name: all its text is made of its characters, and uses every one of them", (set) => {
  const used = new Set(first(set, "train", 1, 3000).flatMap((problem) => [...problemText(set, problem)]));
  expect([...used].sort().join("")).toBe([...set.characters].sort().join(""));
});

test("arithmetic fits a vocabulary of 32 with its end-of-text token", () => {
  expect(arithmetic.characters.length + 1).toBeLessThanOrEqual(32);
});

test("every arithmetic problem there is has the right answer, and a tenth of each operator is held out", () => {
  const solve: Record<ArithmeticOperator, (a: bigint, b: bigint) => bigint> = {
    "+": (a, b) => a + b,
    "-": (a, b) => a - b,
    "*": (a, b) => a * b,
    "//": (a, b) => a / b, // BigInt rounds towards zero: down, as nothing is negative
  };
  for (const operator of Object.keys(arithmeticRanges) as ArithmeticOperator[]) {
    const { left, right } = arithmeticRanges[operator];
    const step = operator === "//" ? 7 : 1;
    let count = 0;
    let held = 0;
    const wrong: string[] = [];
    for (let a = left[0]; a <= left[1]; a += step)
      for (let b = right[0]; b <= right[1]; b++) {
        const problem = `${a} ${operator} ${b}`;
        count++;
        if (arithmetic.isHeldOut(problem)) held++;
        if (arithmetic.answer(problem) !== String(solve[operator](BigInt(a), BigInt(b)))) wrong.push(problem);
      }
    expect(wrong).toEqual([]);
    // Of about 10,000 (half as many independent ones for + and *): standard deviation below 0.5 %.
    expect(Math.abs(held / count - 0.1)).toBeLessThan(0.02);
  }
});

test("problems that differ only in the order of + and * are held out together; the demonstrated ones always are", () => {
  for (let a = 0; a < 100; a++)
    for (let b = 0; b < a; b++)
      for (const operator of ["+", "*"])
        if (arithmetic.isHeldOut(`${a} ${operator} ${b}`) !== arithmetic.isHeldOut(`${b} ${operator} ${a}`))
          throw new Error(`${a} ${operator} ${b}`);
  for (const problem of ["25 + 17", "17 + 25", "100 - 35"]) expect(arithmetic.isHeldOut(problem)).toBe(true);
});

test("arithmetic keeps to its ranges and operators, operands spread evenly", () => {
  const problems = first(createArithmetic(["-"]), "train", 1, 10_000).map((p) => p.split(" "));
  expect(new Set(problems.map(([, operator]) => operator))).toEqual(new Set(["-"]));
  const lefts = problems.map(([left]) => Number(left));
  expect([Math.min(...lefts), Math.max(...lefts)]).toEqual([0, 100]);
  // The mean of 0..100 is 50, its standard deviation 29: the mean of 10,000 within 0.29; five of them.
  expect(Math.abs(lefts.reduce((a, b) => a + b, 0) / lefts.length - 50)).toBeLessThan(1.5);
  const shares = first(arithmetic, "train", 1, 8000).filter((p) => p.includes(" + ")).length / 8000;
  expect(Math.abs(shares - 3 / 8)).toBeLessThan(0.03);
  expect(() => createArithmetic(["^" as ArithmeticOperator])).toThrow('unknown arithmetic operator "^"');
  expect(() => createArithmetic([])).toThrow("name at least one");
});

test("arithmetic answers negative differences, and refuses what is not one of its problems", () => {
  expect(problemText(arithmetic, "3 - 10")).toBe("3 - 10 = -7\n");
  expect(arithmetic.check("17 // 5 = ", "3")).toBe(true);
  expect(arithmetic.check("17 // 5 =", " 3\n")).toBe(true);
  for (const problem of ["", "1 + ", "1 / 2", "1 // 0", "1+1", "99999999 + 1"])
    expect(() => arithmetic.answer(problem)).toThrow(UsageError);
});

test("different problems to measure on: as many as asked, or an error when the set runs out", () => {
  const problems = [...takeDistinct(createArithmetic(["+", "-"]), "heldout", 1, 500)];
  expect(problems).toHaveLength(500);
  expect(new Set(problems).size).toBe(500);
  expect(() => [...takeDistinct(createArithmetic(["+"]), "heldout", 1, 5000)]).toThrow("it hardly has more than");
  expect([...takeDistinct(arithmetic, "train", 1, 0)]).toEqual([]);
});

test("a set's problems come as documents of some lines each, named by what makes them", () => {
  const source = problemDocuments(arithmetic, { split: "train", seed: 1, count: 10, perDocument: 4 });
  const documents = [...(source.documents() as Iterable<string>)];
  expect(documents.map((text) => text.split("\n").length)).toEqual([4, 4, 2]);
  expect(`${documents.join("\n")}\n`).toBe(
    first(arithmetic, "train", 1, 10)
      .map((p) => problemText(arithmetic, p))
      .join(""),
  );
  const other = problemDocuments(createArithmetic(["+"]), { split: "train", seed: 1, count: 10, perDocument: 4 });
  expect(other.identity).not.toBe(source.identity);
  expect(() => problemDocuments(arithmetic, { split: "train", seed: 1, count: 0 })).toThrow("count is 0");
});

test.for([
  ["print(-7 // 2)", "-4"],
  ["print(-7 % 3)", "2"],
  ["print(7 // -2)", "-4"],
  ["print(7 % -3)", "-2"],
  ["print(-6 % 3)", "0"],
  ["print(2 + 3 * 4 - 10 // 3)", "11"],
  ["print((2 + 3) * 4)", "20"],
  ["print(-3 * -2)", "6"],
  ["print(- - 3)", "3"],
  ["print(10 - 3 - 2)", "5"],
  ["print(100 // 7 // 2)", "7"],
  ["print(5 % 3 * 2)", "4"],
  ["print(1 + 2 < 4)", "True"],
  ["print(3 != 3)", "False"],
  ["print([1, 2 + 3, -4])", "[1, 5, -4]"],
  ["print([])", "[]"],
  ["print([3, 1, 2][-1])", "2"],
  ["print(max(3, 7, 5) + min([4, 2]))", "9"],
  ["print(sum([]) + len([1, 1]))", "2"],
])("the Python subset answers as CPython: %s is %s", ([source, printed]) => {
  expect(runPython(source)).toBe(`${printed}\n`);
});

test("a thousand generated programs print what CPython prints", () => {
  const answers = first(pythonSubset, "train", 1, 1000).map((program) => pythonSubset.answer(program));
  expect(sha256Of(answers.join("\n"))).toBe("69391fe36e47b5e8d85bf5dff1f11587bf72704912f6af60c60dd8fcb76d1ab0");
});

test("five hundred questions on records have jq's answers", () => {
  const answers = first(jsonRecords, "train", 1, 500).map((problem) => jsonRecords.answer(problem));
  expect(sha256Of(answers.join("\n"))).toBe("3edf09e574ede78c90ff68d45411aed118c98bb83a535461ede693f4f2213c61");
});

test("blocks run as their indentation says", () => {
  const program =
    "s = 0\nfor i in range(1, 4):\n    if i == 2:\n        s += 10\n    else:\n        s -= i\n    s *= 2\nprint(s)";
  expect(runPython(program)).toBe("26\n"); // ((0 - 1) * 2 + 10) * 2 = 16; (16 - 3) * 2
  expect(runPython("for i in range(0):\n    x = 1\nprint(5)")).toBe("5\n");
});

test.for([
  ["print(x)", "NameError"],
  ["print(1 // 0)", "ZeroDivisionError"],
  ["print([1][1])", "IndexError"],
  ["print(max([]))", "ValueError"],
])("what Python itself would raise is named: %s raises %s", ([source, name]) => {
  expect(() => runPython(source)).toThrow(PythonError);
  expect(() => runPython(source)).toThrow(name);
});

test.for([
  "import os",
  "print(1.5)",
  "print(2 ** 3)",
  "print('a')",
  "while True:\n    x = 1",
  "if 1:\n    x = 1",
  "print(1 < 2 < 3)",
  "print(True + 1)",
  "print((1 < 2) + 1)",
  "x = 1\n  y = 2",
  "if 1 < 2:\nprint(1)",
  "for i in range(1, 9, 2):\n    print(i)",
  "print(007)",
  "print(1",
  "print(1) print(2)",
  "for = 1",
])("what is not of the subset is refused, never guessed: %j", (source) => {
  expect(() => runPython(source)).toThrow(UsageError);
});

test("numbers that are no longer exact and loops without end are refused", () => {
  expect(() => runPython("x = 99999999\nprint(x * x)")).toThrow(TooLargeError);
  expect(() => runPython("for i in range(99999):\n    x = i")).toThrow("more than 10000 steps");
});

test("programs that differ only in the names of variables are held out together", () => {
  for (const program of first(pythonSubset, "heldout", 1, 100)) {
    const renamed = program.replace(/\b[a-z]\b/g, (name) => String.fromCharCode(97 + ((name.charCodeAt(0) - 96) % 26)));
    expect(renamed).not.toBe(program);
    expect(pythonSubset.isHeldOut(renamed)).toBe(true);
  }
});

test("records in another order of fields are held out together; an answer may space and order its JSON freely", () => {
  for (const problem of first(jsonRecords, "heldout", 1, 100)) {
    const [line, query] = problem.split("\n");
    const reversed = Object.fromEntries(Object.entries(JSON.parse(line)).reverse());
    expect(jsonRecords.isHeldOut(`${JSON.stringify(reversed)}\n${query}`)).toBe(true);
  }
  const prompt = '{"id":17,"tags":["red","old"],"address":{"city":"Oslo"}}\n{id,tags} -> ';
  expect(jsonRecords.check(prompt, '{ "tags": ["red", "old"], "id": 17 }\n')).toBe(true);
  expect(jsonRecords.check(prompt, '{"tags":["old","red"],"id":17}')).toBe(false);
});

test("a question without an answer in the record is refused", () => {
  const record = { a: [1], b: { c: 2 } };
  expect(queryRecord(record, ".b.c")).toBe(2);
  expect(queryRecord(record, "keys")).toEqual(["a", "b"]);
  for (const query of [".x", ".a[1]", ".b|length", ".a.c", "{a,x}", ".constructor", ".a | map(.)", ""])
    expect(() => queryRecord(record, query)).toThrow(UsageError);
  expect(() => jsonRecords.prompt("x") && jsonRecords.answer("not json\n.a")).toThrow("is not a JSON record");
});
