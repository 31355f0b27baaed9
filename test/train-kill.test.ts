// A real process, really killed (SIGKILL): before the first checkpoint, between steps, amid a line, amid the writing of a
// checkpoint. Oracle: the same command, left alone. Whatever the moment, `--resume` must come to the same losses.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readScalars } from "../src/train/scalars.ts";
import { type Moment, type StartedProcess, startBitnet } from "./support/signalled.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = join(folder, "text.txt");
const words = ["one", "two", "three", "four", "five"];
writeFileSync(text, Array.from({ length: 900 }, (_, i) => words[(i * i + (i >> 3)) % 5]).join(" "));

function start(run: string, moment: Moment | undefined, ...more: string[]): StartedProcess {
  const sizes = { vocabSize: 16, width: 16, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 };
  return startBitnet(
    [
      ...["train", "tiny", "--data", text, "--run-dir", run, "--backend", "reference"],
      ...Object.entries(sizes).map(([key, value]) => `--model.${key}=${value}`),
      ...["--tokenizer.kind=characters", "--train.batch=4", "--train.sequence=16", "--steps", "40", "--seed", "2"],
      ...["--evaluation.every=10", "--evaluation.batches=1", "--checkpoints.every=5", "--samples.every=null"],
      ...["--data.cacheDir", join(folder, "cache"), ...more],
    ],
    moment,
  );
}

const scalars = (run: string) => join(run, "metrics", "scalars.jsonl");
const losses = (run: string) =>
  readScalars(scalars(run)).map(({ step, loss, val_loss, grad_norm }) => ({ step, loss, val_loss, grad_norm }));
describe("training that is killed", () => {
  test("goes on with the losses of training that was not", async () => {
    const left = join(folder, "left-alone");
    const whole = start(left, undefined);
    expect(await whole.ended, whole.said.join("")).toBe(0);

    const run = join(folder, "killed");
    const resume = ["--resume", "auto"];
    // Lines and checkpoints are counted from each process's own beginning; there is a checkpoint every five steps.
    const moments: Moment[] = [
      { call: "writeSync", path: "scalars.jsonl", count: 4 },
      { call: "writeSync", path: "scalars.jsonl", count: 14, torn: true },
      { call: "writeSync", path: "/checkpoints/", count: 3, torn: true },
      { call: "renameSync", path: "/checkpoints/step_", count: 2 },
      { call: "writeSync", path: "scalars.jsonl", count: 9, torn: true },
    ];
    for (const moment of moments) {
      const killed = start(run, moment, ...resume);
      expect(await killed.ended, `${JSON.stringify(moment)}: ${killed.said.join("")}`).toBe("SIGKILL");
    }
    const last = start(run, undefined, ...resume);
    expect(await last.ended, last.said.join("")).toBe(0);
    expect(losses(run)).toEqual(losses(left));
    const weights = (of: string) => readFileSync(join(of, "checkpoints", "step_000040", "model.safetensors"));
    expect(weights(run).equals(weights(left))).toBe(true);
  });

  test("with Muon, settings by parameter, flip-rate control and freezing goes on the same", async () => {
    const mode = [
      ...["--optimizer.kind", "muon", "--optimizer.cautious", "true", "--optimizer.latentClip", "2"],
      ...["--optimizer.multipliers", "[{parameters: embed_tokens, learningRate: 2}]", "--schedule.kind", "wsd"],
      "--train.callbacks",
      "[{name: flip-rate, start: 0.2, eta: 20, momentum: 0.9}, {name: freeze-oscillations, momentum: 0.1, to: 0.05}]",
    ];
    const left = join(folder, "muon-left-alone");
    const whole = start(left, undefined, ...mode);
    expect(await whole.ended, whole.said.join("")).toBe(0);
    const lines = readScalars(scalars(left)).filter((line) => "flip_rate" in line);
    expect(lines).toHaveLength(40);
    expect(lines.at(-1)!.frozen_share).toBeGreaterThan(0);
    expect(lines.at(-1)!.flip_rate_scale).not.toBe(1);

    const run = join(folder, "muon-killed");
    const resume = ["--resume", "auto"];
    for (const [i, moment] of (
      [
        { call: "writeSync", path: "scalars.jsonl", count: 14, torn: true },
        { call: "writeSync", path: "callbacks.safetensors", count: 2, torn: true },
      ] as Moment[]
    ).entries()) {
      const killed = start(run, moment, ...(i === 0 ? mode : []), ...resume);
      expect(await killed.ended, `${JSON.stringify(moment)}: ${killed.said.join("")}`).toBe("SIGKILL");
    }
    const last = start(run, undefined, ...resume);
    expect(await last.ended, last.said.join("")).toBe(0);
    expect(losses(run)).toEqual(losses(left));
    for (const file of ["model.safetensors", "optimizer.safetensors", "callbacks.safetensors"]) {
      const bytes = (of: string) => readFileSync(join(of, "checkpoints", "step_000040", file));
      expect(bytes(run).equals(bytes(left)), file).toBe(true);
    }
  });

  test("amid annealed soft weights goes on with the same losses too", async () => {
    const annealed = ["--train.progressive.kind", "annealed", "--train.progressive.end", "22", "--steps", "24"];
    const left = join(folder, "annealed-left-alone");
    const whole = start(left, undefined, ...annealed);
    expect(await whole.ended, whole.said.join("")).toBe(0);
    const run = join(folder, "annealed-killed");
    const moments: Moment[] = [
      { call: "writeSync", path: "scalars.jsonl", count: 9 },
      { call: "writeSync", path: "scalars.jsonl", count: 10, torn: true },
    ];
    for (const moment of moments) {
      const killed = start(run, moment, ...annealed, "--resume", "auto");
      expect(await killed.ended, killed.said.join("")).toBe("SIGKILL");
    }
    const last = start(run, undefined, ...annealed, "--resume", "auto");
    expect(await last.ended, last.said.join("")).toBe(0);
    expect(losses(run)).toEqual(losses(left));
    const temperatures = readScalars(scalars(run)).flatMap(({ quant_temperature }) => quant_temperature ?? []);
    expect(temperatures).toHaveLength(24);
    expect([temperatures[0], temperatures.at(-1)]).toEqual([1, 0]);
  });

  // Windows has no SIGINT to send: there it would be a kill.
  test.skipIf(process.platform === "win32")(
    "by Ctrl-C finishes the step, saves it, says how to go on, and exits with 130",
    async () => {
      const run = join(folder, "interrupted");
      const { ended, said } = start(run, { call: "writeSync", path: "scalars.jsonl", count: 8, signal: "SIGINT" });
      expect(await ended, said.join("")).toBe(130);
      const { step } = readScalars(scalars(run)).findLast((line) => "loss" in line)!;
      expect(step).toBeLessThan(40);
      const saved = readdirSync(join(run, "checkpoints")).at(-1);
      expect(saved).toBe(`step_${String(step).padStart(6, "0")}`);
      expect(said.join("")).toContain(`bitnet train --resume ${run}`);
    },
  );
});
