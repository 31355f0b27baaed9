// A real process, really killed (SIGKILL), at moments that nobody chose exactly: amid a step, amid the writing of a
// checkpoint. Oracle: the same command, left alone. Whatever the moment, `--resume` must come to the same losses.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readScalars } from "../src/train/scalars.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const main = resolve(import.meta.dirname, "../src/cli/main.ts");
const text = join(folder, "text.txt");
const words = ["one", "two", "three", "four", "five"];
writeFileSync(text, Array.from({ length: 900 }, (_, i) => words[(i * i + (i >> 3)) % 5]).join(" "));

function start(
  run: string,
  ...more: string[]
): { process: ChildProcess; ended: Promise<number | null>; said: string[] } {
  const sizes = { vocabSize: 16, width: 16, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 };
  const child = spawn(
    process.execPath,
    [
      ...["--import", "tsx", main, "train", "tiny", "--data", text, "--run-dir", run, "--backend", "reference"],
      ...Object.entries(sizes).map(([key, value]) => `--model.${key}=${value}`),
      ...["--tokenizer.kind=characters", "--train.batch=4", "--train.sequence=16", "--steps", "40", "--seed", "2"],
      ...["--evaluation.every=10", "--evaluation.batches=1", "--checkpoints.every=5", "--samples.every=null"],
      ...["--data.cacheDir", join(folder, "cache"), ...more],
    ],
    { cwd: resolve(import.meta.dirname, ".."), stdio: ["ignore", "pipe", "pipe"] },
  );
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => said.push(data.toString()));
  return { process: child, said, ended: new Promise((done) => child.on("close", done)) };
}

const scalars = (run: string) => join(run, "metrics", "scalars.jsonl");
const losses = (run: string) =>
  readScalars(scalars(run)).map(({ step, loss, val_loss, grad_norm }) => ({ step, loss, val_loss, grad_norm }));
const linesOf = (run: string) => (existsSync(scalars(run)) ? readFileSync(scalars(run), "utf8").split("\n").length : 0);
const beingWritten = (run: string) =>
  existsSync(join(run, "checkpoints")) && readdirSync(join(run, "checkpoints")).some((name) => name.includes(".tmp-"));

/** Starts the run, and kills it once `moment` has come. False if it ended before. */
async function killWhen(moment: () => boolean, run: string, ...more: string[]): Promise<boolean> {
  const { process: child, ended } = start(run, ...more);
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over && !moment()) await new Promise((next) => setTimeout(next, 1));
  const killed = child.kill("SIGKILL");
  await ended;
  return killed && child.signalCode === "SIGKILL";
}

describe("training that is killed", () => {
  test("goes on with the losses of training that was not", { timeout: 120_000 }, async () => {
    const left = join(folder, "left-alone");
    const whole = start(left);
    expect(await whole.ended, whole.said.join("")).toBe(0);

    const run = join(folder, "killed");
    const resume = ["--resume", "auto"];
    // Before the first checkpoint, amid steps, amid writing a checkpoint, amid steps again.
    const moments = [
      () => linesOf(run) >= 3,
      () => linesOf(run) >= 14,
      () => beingWritten(run) && linesOf(run) >= 24,
      () => linesOf(run) >= 33,
    ];
    let kills = 0;
    for (const moment of moments) if (await killWhen(moment, run, ...resume)) kills++;
    expect(kills).toBeGreaterThanOrEqual(2);
    const last = start(run, ...resume);
    expect(await last.ended, last.said.join("")).toBe(0);
    expect(losses(run)).toEqual(losses(left));
    const weights = (of: string) => readFileSync(join(of, "checkpoints", "step_000040", "model.safetensors"));
    expect(weights(run).equals(weights(left))).toBe(true);
  });

  // Windows has no SIGINT to send: there it would be a kill.
  test.skipIf(process.platform === "win32")(
    "by Ctrl-C finishes the step, saves it, says how to go on, and exits with 130",
    {
      timeout: 60_000,
    },
    async () => {
      const run = join(folder, "interrupted");
      const { process: child, ended, said } = start(run);
      while (linesOf(run) < 8 && child.exitCode === null) await new Promise((next) => setTimeout(next, 1));
      child.kill("SIGINT");
      expect(await ended, said.join("")).toBe(130);
      const { step } = readScalars(scalars(run)).findLast((line) => "loss" in line)!;
      expect(step).toBeLessThan(40);
      const saved = readdirSync(join(run, "checkpoints")).at(-1);
      expect(saved).toBe(`step_${String(step).padStart(6, "0")}`);
      expect(said.join("")).toContain(`bitnet train --resume ${run}`);
    },
  );
});
