// Oracles: HumanEval's own canonical solutions, which its authors' tests accept; bodies that return None, which they do not; the
// system, asked from outside what a program left behind. Every limit here is small, so that a program which is not kept in
// fails the test before it does harm.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { testShared, sharedPath } from "../../test/support/shared.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { TransformerEngine } from "../infer/index.ts";
import { presets, Transformer } from "../model/index.ts";
import { openPythonSandbox, type PythonSandbox } from "../platform/python-sandbox.ts";
import { createRandom } from "../platform/random.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import { canonicalCompletions, judgeCompletions, readProblems, writeCompletions } from "./humaneval.ts";
import { readTaskRows } from "./task-rows.ts";
import { cutAtStop, type HumanEvalProblem, programOf } from "./tasks/humaneval.ts";

const limits = { cpuSeconds: 1, wallMs: 100_000, memoryBytes: 2 ** 28, diskBytes: 2 ** 20, outputBytes: 2 ** 16 };
/** Where the system lets nobody be shut in, nothing is run; then so it must say. */
let sandbox: PythonSandbox | null = null;
let why = "";
try {
  sandbox = await openPythonSandbox(limits);
} catch (error) {
  why = (error as Error).message;
}
const python = spawnSync("python3", ["-c", "import resource"]).status === 0;

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

test.skipIf(sandbox || !python)(`without a safe way nothing is run, and it says why (${why})`, async () => {
  await expect(judge(["    return 6\n"])).rejects.toThrow("cannot be run safely here");
});

describe.skipIf(!sandbox)(`programs are kept in${sandbox ? "" : ` (skipped: ${why})`}`, () => {
  const run = (program: string) => (sandbox as PythonSandbox).run(program);

  test.for([
    ["assert 1 + 1 == 2", true, ""],
    ["assert 1 + 1 == 3, 'sums'", false, "AssertionError: sums"],
    ["def f(:", false, "SyntaxError"],
    ["import sys\nsys.exit(0)", false, "SystemExit"],
    ["import os\nos._exit(0)", false, "before its tests did"],
    ['import os\nos.write(3, b\'{"event": "passed", "nonce": ""}\\n\')\nos._exit(0)', false, "before its tests did"],
    ["import ctypes\nctypes.string_at(0)", false, "SIGSEGV"],
    ["while True: pass", false, "used over 1 s of the processor"],
    ["while True: print('x' * 10000)", false, "printed over 65536 bytes"],
    ["x = [0] * 10**9", false, "MemoryError"],
    ["open('a', 'wb').write(b'x' * 2**22)", false, "File too large"],
    ["input()", false, "EOFError"],
    ["import threading\nthreading.Thread(target=print).start()", false, "can't start new thread"],
    ["import subprocess\nsubprocess.run(['ls'])", false, "TypeError"],
    [
      "import os\nassert not [k for k in os.environ if k != 'LC_CTYPE' and not k.startswith('__')], os.environ",
      true,
      "",
    ],
  ] as const)("%j", async ([program, passed, reason]) => {
    const verdict = await run(program);
    expect(verdict.passed).toBe(passed);
    expect(verdict.reason).toContain(reason);
  });

  test("a fork bomb gets no process at all, though it asks the C library", async () => {
    const bomb = "import ctypes\nc = ctypes.CDLL(None)\nassert all(c.fork() == -1 for _ in range(50))";
    expect(await run(bomb)).toEqual({ passed: true, reason: "" });
  });

  test("a program that waits is ended by the clock", async () => {
    const impatient = await openPythonSandbox({ ...limits, wallMs: 1500 });
    expect((await impatient.run("import time\ntime.sleep(1000)")).reason).toBe("took over 1.5 s");
  });

  test("many files fill no disk, and the scratch folder is gone afterwards", async () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith("bitnet-program-"));
    const { passed, reason } = await run(
      "for i in range(10**6):\n    with open(str(i), 'wb') as f: f.write(b'x' * 100000)",
    );
    expect(passed).toBe(false);
    expect(reason).toMatch(/No space left|over 1048576 bytes to the disk|Too many|used over/);
    const after = readdirSync(tmpdir()).filter((name) => name.startsWith("bitnet-program-") && !before.includes(name));
    expect(after).toEqual([]);
  });

  test("what is reported as forbidden is: writing elsewhere, and reaching this machine's own ports", async () => {
    const { report } = sandbox as PythonSandbox;
    const target = join(tmpdir(), `bitnet-escape-${process.pid}`);
    const written = await run(`open(${JSON.stringify(target)}, "w").write("x")`);
    if (report.writes) expect(written.passed).toBe(false);
    expect(existsSync(target) && report.writes).toBe(false);
    let calls = 0;
    const server = createServer((socket) => {
      calls++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await run(`import socket\nsocket.create_connection(("127.0.0.1", ${port}), 2)`);
    server.close();
    if (report.network) expect(calls).toBe(0);
  });

  test("an abort ends the program at once", async () => {
    const controller = new AbortController();
    const running = (sandbox as PythonSandbox).run("while True: pass", controller.signal);
    controller.abort(new Error("stop"));
    await expect(running).rejects.toThrow("stop");
  });

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
      // Every 41st; all 164 by `bitnet eval --task humaneval --completions canonical`.
      const some = all.filter((_, i) => i % 41 === 0);
      const options = { allowCodeExecution: true, limits: { ...limits, cpuSeconds: 5 }, concurrency: 2 };
      const canonical = await judgeCompletions(some, canonicalCompletions(some), options);
      expect(canonical.completions.filter(({ passed }) => !passed)).toEqual([]);
      expect(canonical.metrics[0]).toMatchObject({ name: "pass@1", value: 1 });
      const broken = some.map(({ id }) => ({ task_id: id, completion: "    return None\n" }));
      expect((await judgeCompletions(some, broken, options)).metrics[0].value).toBe(0);
    },
    240_000,
  );
});

test("a model's completions: as many as asked for each problem, cut at the stop, greedy ones alike, seeds kept", async () => {
  const { tokenizer } = await trainCharacters([`${programOf(problem, "    return 1\n#")} classprint`]);
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
