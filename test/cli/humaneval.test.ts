// Oracle: verdicts known by hand. The built program, since the processes that hold the interpreter run functions as the compiler
// wrote them. Skipped, and said, where the package with the interpreter is not installed.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPythonModule } from "../../src/platform/node/python-process.ts";
import { bitnet } from "../support/cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

let why = "";
try {
  readPythonModule();
} catch (error) {
  why = (error as Error).message;
}

test.skipIf(why !== "")(`bitnet eval judges completions from a file${why && ` (skipped: ${why})`}`, async () => {
  const folder = temporaryFolder();
  const lines = (name: string, rows: object[]) => {
    writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    return join(folder, name);
  };
  const rows = ["Test/0", "Test/1"].map((task_id) => ({
    ...{ task_id, prompt: "def double(x):\n", entry_point: "double", canonical_solution: "    return 2 * x\n" },
    test: "def check(candidate):\n    assert candidate(3) == 6\n",
  }));
  const completions = [
    { task_id: "Test/0", completion: "    return 2 * x\n" },
    { task_id: "Test/1", completion: "    import os\n    os._exit(0)\n" },
  ];
  const result = await bitnet([
    ...["eval", "--task", "humaneval", "--task-data", lines("humaneval.jsonl", rows), "--allow-code-execution"],
    ...["--completions", lines("completions.jsonl", completions), "-o", join(folder, "out.json")],
    ...["--log-samples", folder, "--program-seconds", "10", "--program-memory", "128"],
  ]);
  expect(result.stderr.split("\n").filter((line) => line.startsWith("bitnet:"))).toEqual([]);
  expect(result.code).toBe(0);
  expect(result.stdout).toMatch(/programs ran in CPython 3\.\d+\.\d+ in WebAssembly, tested from another interpreter/);
  const { results, bitnet: more } = JSON.parse(readFileSync(join(folder, "out.json"), "utf8"));
  expect(results.humaneval["pass@1,create_test"]).toBe(0.5);
  expect(more.tasks.humaneval.sandbox).toMatchObject({ verdictFromOutside: true, files: true, network: true });
  const samples = readFileSync(join(folder, "samples_humaneval.jsonl"), "utf8").trim().split("\n");
  expect(samples.map((line) => JSON.parse(line).result)).toEqual(["passed", "ended with code 0 before its tests did"]);
});
