// Oracles: the contexts and continuations that lm-evaluation-harness 0.4 forms (its task files' templates, filled in by hand);
// CPython 3.11's random.Random(1234) (its getrandbits and sample); numpy's rules for ties; the closed form of pass@k.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { passAtK, isWithinNoise, meanStandardError, bootstrapStandardError, itemPerplexity } from "./statistics.ts";
import { capitalize, countCodePoints, createPythonRandom, rstrip } from "./python.ts";
import { readTaskRows, type TaskRow } from "./task-rows.ts";
import { findTask } from "./tasks/index.ts";

const row = (value: Record<string, unknown>): TaskRow => ({ where: "t.jsonl: line 7", value });
const read = (name: string, value: Record<string, unknown>) => findTask(name).read(row(value));

describe("texts are the harness's", () => {
  const labelled = { choices: { text: ["air", "rock"], label: ["A", "B"] }, answerKey: "B" };
  test.for([
    ["arc_easy", { question: "What flies?", ...labelled }, "Question: What flies?\nAnswer:", [" air", " rock"], 1],
    [
      "arc_challenge",
      { query: "Question: What flies?", choices: ["air", "rock"], gold: 0 },
      "Question: What flies?\nAnswer:",
      [" air", " rock"],
      0,
    ],
    [
      "openbookqa",
      { question_stem: "Fog is", choices: labelled.choices, answerKey: " A" },
      "Fog is",
      [" air", " rock"],
      0,
    ],
    [
      "piqa",
      { goal: "Cool it", sol1: "fan", sol2: "fire", label: 0 },
      "Question: Cool it\nAnswer:",
      [" fan", " fire"],
      0,
    ],
    [
      "boolq",
      { passage: "Ice floats.", question: "does ice float", label: 1 },
      "Ice floats.\nQuestion: does ice float?\nAnswer:",
      [" no", " yes"],
      1,
    ],
    [
      "boolq",
      { query: "Passage: Ice floats.\nQuestion: does ice float?", choices: ["no", "yes"], gold: 1 },
      "Ice floats.\nQuestion: does ice float?\nAnswer:",
      [" no", " yes"],
      1,
    ],
    [
      "copa",
      { premise: "The man fell. ", question: "cause", choice1: "He slipped.", choice2: "It rained.", label: 0 },
      "The man fell because",
      ["  he slipped.", "  it rained."],
      0,
    ],
    [
      "copa",
      { query: "The man fell, therefore", choices: ["he lay.", "it rained."], gold: 1 },
      "The man fell therefore",
      ["  he lay.", "  it rained."],
      1,
    ],
    [
      "hellaswag",
      {
        activity_label: "Baking",
        ctx_a: "A man mixes. [header] Flour [title] Sift.",
        ctx_b: "then HE",
        endings: ["[substeps] stops.", "goes  on."],
        label: "1",
      },
      "Baking: A man mixes. Flour. Sift. Then he",
      ["  stops.", " goes on."],
      1,
    ],
    [
      "storycloze_2016",
      {
        InputSentence1: "A.",
        InputSentence2: "B.",
        InputSentence3: "C.",
        InputSentence4: "D.",
        RandomFifthSentenceQuiz1: "E.",
        RandomFifthSentenceQuiz2: "F.",
        AnswerRightEnding: "2",
      },
      "A. B. C. D.",
      [" E.", " F."],
      1,
    ],
  ] as const)("%s %#", ([name, value, context, continuations, gold]) => {
    const item = read(name, value);
    expect(item).toMatchObject({ contexts: [context, context], continuations, gold });
    expect(item.example).toBe(context + continuations[gold]);
  });

  test("winogrande puts each option into the blank and scores what follows (partial evaluation)", () => {
    const value = {
      sentence: "The cup did not fit the box as _ was too big. ",
      option1: "the cup",
      option2: "the box",
      answer: "1",
    };
    expect(read("winogrande", value)).toMatchObject({
      contexts: ["The cup did not fit the box as the cup", "The cup did not fit the box as the box"],
      continuations: [" was too big.", " was too big."],
      gold: 0,
      example: "The cup did not fit the box as the cup was too big.",
    });
  });

  test("lambada scores the last word, with the space before it", () => {
    const item = { context: "I do not care about", continuation: " signs" };
    expect(read("lambada_openai", { text: "I do not care about signs" })).toMatchObject(item);
    expect(read("lambada_openai", { context: "I do not care about", continuation: "signs" })).toMatchObject(item);
  });
});

describe("a bad row is named with its line and field", () => {
  const arc = { question: "What?", choices: { text: ["a", "b"], label: ["A", "B"] }, answerKey: "A" };
  test.for([
    [
      "arc_easy",
      { ...arc, question: undefined },
      'has no field "question"; its fields are: question, choices, answerKey',
    ],
    ["arc_easy", { ...arc, question: "  " }, '"question" is empty'],
    ["arc_easy", { ...arc, answerKey: "E" }, `"answerKey" is "E"; the choices' labels are A, B`],
    ["arc_easy", { ...arc, choices: { text: ["a", ""], label: ["A", "B"] } }, '"choices.text"[1] is ""'],
    [
      "arc_easy",
      { ...arc, choices: { text: ["a", "b"], label: ["A"] } },
      '"choices.label" is ["A"]; expected 2 labels',
    ],
    ["arc_easy", { ...arc, choices: "ab" }, 'has no field "choices.text"'],
    [
      "openbookqa",
      { query: "q", choices: ["a", "b"], gold: 2 },
      `"gold" is 2; the right answer's number is from 0 to 1`,
    ],
    ["openbookqa", { query: "q", choices: ["a", "b"], gold: -1 }, '"gold" is -1'],
    ["openbookqa", { query: "q", choices: ["a", "b"], gold: 0.5 }, '"gold" is 0.5'],
    ["openbookqa", { query: "q", choices: ["a"], gold: 0 }, "expected a list of at least two texts"],
    ["hellaswag", { activity_label: "x", ctx_a: "a", ctx_b: "b", endings: ["a", "b"], label: "" }, '"label" is ""'],
    ["winogrande", { sentence: "none", option1: "a", option2: "b", answer: "1" }, 'has no blank, written "_"'],
    [
      "winogrande",
      { sentence: "a _ b", option1: "a", option2: "b", answer: "0" },
      `"answer" is "0"; the right answer's number is from 1 to 2`,
    ],
    [
      "copa",
      { premise: "x.", question: "why", choice1: "a", choice2: "b", label: 0 },
      '"question" is "why"; expected "cause" or "effect"',
    ],
    ["piqa", { goal: "g", sol1: 3, sol2: "b", label: 0 }, '"sol1" is 3; expected text'],
    ["boolq", { passage: "p", question: "q" }, 'has no field "label"'],
    // Rows of the prepared form: what they lack is named, not the hub's fields.
    ["copa", { query: "x", choices: ["a", "b"] }, 'has no field "gold"; its fields are: query, choices'],
    ["arc_easy", { query: "x", choices: ["a", "b"] }, 'has no field "gold"'],
    ["winogrande", { context_options: ["a", "b"], continuation: "c" }, 'has no field "gold"'],
    ["hellaswag", { choices: ["a", "b"], gold: 0 }, 'has no field "query"'],
    ["lambada_openai", { context: "x" }, 'has no field "continuation"'],
    ["lambada_openai", { text: "word" }, "has no last word behind a space"],
    ["lambada_openai", { context: "", continuation: "x" }, '"context" is empty'],
  ] as const)("%s %#", ([name, value, message]) => {
    expect(() => read(name, value)).toThrow(/^t\.jsonl: line 7: /);
    expect(() => read(name, value)).toThrow(message);
  });
});

describe("files", () => {
  const file = (name: string, text: string | Uint8Array) => {
    const path = join(temporaryFolder(), name);
    writeFileSync(path, text);
    return path;
  };
  test("CSV: quotes, commas, doubled quotes and line ends inside fields; the line is the record's first", async () => {
    const rows = await readTaskRows(file("a.csv", '\uFEFFa,b\r\n1,"x, ""y""\nz"\r\n\r\n3,4\r\n'));
    expect(rows.map(({ value }) => value)).toEqual([
      { a: "1", b: 'x, "y"\nz' },
      { a: "3", b: "4" },
    ]);
    expect(rows[1].where).toMatch(/: line 5$/);
  });
  test.for([
    ["cut.jsonl", '{"a": 1}\n{"a": ', /cut\.jsonl: line 2: is not JSON .*cut short/],
    ["list.jsonl", "[1]\n", /list\.jsonl: line 1: expected a JSON object, got \[1\]/],
    ["empty.jsonl", "\n", /empty\.jsonl: holds no rows/],
    ["short.csv", "a,b\n1\n", /short\.csv: line 2: has 1 fields, the first line names 2/],
    ["quote.csv", 'a,b\n1,"x\n', /quote\.csv: line 2: a quoted field does not end/],
    ["bytes.jsonl", Uint8Array.of(0x7b, 0xff), /bytes\.jsonl: is not UTF-8/],
    ["not.parquet", "PAR1 and no more", /not\.parquet: cannot be read as Parquet/],
    ["other.txt", "x", /other\.txt: a task's file ends in \.jsonl, \.csv/],
  ] as const)("%s is refused with its place", async ([name, content, message]) => {
    await expect(readTaskRows(file(name, content))).rejects.toThrow(message);
  });
});

test("the generator and sample() are CPython's, so that a seed draws the examples that it draws there", () => {
  const random = createPythonRandom(1234);
  expect([1, 2, 3, 4, 5].map(() => random.bits32())).toEqual([4150886329, 3342196574, 1892932127, 501869158, 32175636]);
  expect([createPythonRandom(4294967295), createPythonRandom(0)].map((r) => [r.bits32(), r.bits32()])).toEqual([
    [2728839433, 2661025012],
    [3626764237, 1654615998],
  ]);
  const drawn = (n: number, k: number) => {
    const r = createPythonRandom(1234);
    return [r.sample(n, k), r.sample(n, k)];
  };
  expect(drawn(10, 3)).toEqual([
    [7, 1, 0],
    [1, 0, 9],
  ]);
  expect(drawn(2251, 5)).toEqual([
    [1805, 478, 30, 371, 143],
    [343, 403, 1452, 969, 71],
  ]);
  // On both sides of where CPython turns from a pool to a set: 21, and 85 for six.
  expect(drawn(21, 5)).toEqual([
    [14, 3, 0, 2, 1],
    [2, 3, 11, 7, 0],
  ]);
  expect(drawn(22, 5)).toEqual([
    [14, 3, 0, 2, 18],
    [1, 21, 2, 3, 11],
  ]);
  expect(drawn(85, 6)).toEqual([
    [56, 14, 0, 11, 74, 4],
    [10, 12, 45, 30, 2, 3],
  ]);
  expect(drawn(90, 6)).toEqual([
    [56, 14, 0, 11, 74, 4],
    [85, 88, 10, 12, 45, 30],
  ]);
  expect(() => createPythonRandom(1).sample(3, 4)).toThrow("cannot draw 4 of 3");
});

test("strings are measured and changed as Python does it", () => {
  expect(countCodePoints("a\u{1F600}é")).toBe(3);
  expect(capitalize("éTÉ und MEHR")).toBe("Été und mehr");
  expect(rstrip("a \x1f\x85\u3000\n")).toBe("a");
  expect(rstrip("a\uFEFF")).toBe("a\uFEFF");
});

describe("statistics", () => {
  test("pass@k is 1 - C(n - c, k) / C(n, k)", () => {
    expect(passAtK(10, 3, 1)).toBeCloseTo(0.3, 12);
    expect(passAtK(10, 3, 5)).toBeCloseTo(1 - 21 / 252, 12);
    expect(passAtK(10, 0, 5)).toBe(0);
    expect(passAtK(10, 6, 5)).toBe(1);
    expect(passAtK(200, 7, 100)).toBeCloseTo(0.9929911172, 9); // 1 - comb(193, 100) / comb(200, 100) in Python
    expect(() => passAtK(3, 1, 4)).toThrow();
  });
  test("the standard error of 0 and 1 is sqrt(p (1 - p) / (n - 1)); the bootstrap's of a perplexity is the delta method's", () => {
    const values = Array.from({ length: 40 }, (_, i) => (i < 8 ? 1 : 0));
    expect(meanStandardError(values)).toBeCloseTo(Math.sqrt((0.2 * 0.8) / 39), 12);
    expect(meanStandardError([1])).toBeNull();
    const logs = Array.from({ length: 400 }, (_, i) => -2 - (i % 7) / 7);
    const delta = itemPerplexity(logs) * (meanStandardError(logs) as number);
    expect(Math.abs((bootstrapStandardError(logs, itemPerplexity) as number) / delta - 1)).toBeLessThan(0.1);
  });
  test("an accuracy between what needs no model, or within 1.96 standard errors of it, is noise", () => {
    expect(isWithinNoise(0.27, 0.02, 400, [0.25])).toBe(true);
    expect(isWithinNoise(0.31, 0.02, 400, [0.25])).toBe(false);
    expect(isWithinNoise(0.19, 0.02, 400, [0.25])).toBe(false);
    expect(isWithinNoise(0.19, 0.02, 400, [0.25, 0.15])).toBe(true);
    expect(isWithinNoise(0.5, 0.02, 400, [0.5, 0.38, 0.62])).toBe(true);
    expect(isWithinNoise(0, 0, 10, [0.5])).toBe(false);
    expect(isWithinNoise(0, 0, 2, [0.5])).toBe(true); // two items say nothing
  });
});
