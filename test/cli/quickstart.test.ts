// The quickstart, cut to a few steps, as a new user runs it: the built program in an empty folder.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";

const main = resolve(import.meta.dirname, "../../dist/cli/main.js");
const folder = mkdtempSync(join(tmpdir(), "bitnet-quickstart-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { cwd: folder, encoding: "utf8" });

test("generates, trains, measures held-out accuracy, answers, and leaves a run that generate opens", () => {
  const { status, stdout, stderr } = run("quickstart", "--steps", "4", "--problems", "500", "--run-dir", "run");
  expect(stderr).toMatch(/step 4: of 400 held-out problems, additions [\d.]+ %, subtractions [\d.]+ % right/);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^25 \+ 17 = .*$/m);
  expect(stdout).toMatch(/^100 - 35 = .*$/m);
  for (const name of ["config.yaml", "metrics/scalars.jsonl", "checkpoints/step_000004/model.safetensors"])
    expect(existsSync(join(folder, "run", name)), name).toBe(true);
  expect(run("generate", "-m", "run", "-p", "1 + 1 = ", "-n", "3", "--temp", "0").status).toBe(0);

  // No held-out problem, nor its mirror image, is in the training text.
  const lines = (name: string) =>
    readFileSync(join(folder, "runs/quickstart-data", name), "utf8")
      .trim()
      .split("\n");
  const trained = new Set(lines("train.txt"));
  for (const line of lines("held-out.txt")) {
    const [, a, sign, b, answer] = /^(\d+) (.) (\d+) = (.+)$/.exec(line)!;
    expect(trained.has(line)).toBe(false);
    if (sign === "+") expect(trained.has(`${b} + ${a} = ${answer}`)).toBe(false);
  }
  expect(trained.size).toBeGreaterThan(400);
});

test("a text that data.lossAfter does not occur in is refused, not trained on to no end", () => {
  const args = ["train", "arithmetic", "--data", "runs/quickstart-data/train.txt", "--data.separator", "line"];
  const { status, stderr } = run(
    ...args,
    "--data.lossAfter",
    "==",
    "--train.batch",
    "2",
    "--steps",
    "2",
    "--run-dir",
    "no",
  );
  expect(stderr).toContain("does the text of data.lossAfter occur in the data?");
  expect(status).toBe(1);
});
