// Estimators in a run. Oracles: the definition of the share of the run that is done, (step - 1) / steps; an uninterrupted run,
// for one that goes on; the loss of the first step, which no estimator changes. The rules are held to PyTorch in
// ops/ternary-estimator, and layers of every kind to their definition in nn/linear.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { smallRun, steppingClock } from "../../test/support/small-run.ts";
import { estimators } from "../nn/index.ts";
import type { Callback } from "./events.ts";
import { readScalars } from "./scalars.ts";
import { train } from "./train.ts";
import { runTraining } from "./trainer.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-estimators-"));
afterAll(() => rmSync(root, { recursive: true }));

test("layers have the share of the run that is done during a step, and 1 outside of it, also where a step fails", async () => {
  const run = smallRun({ steps: 4, quantization: (step) => ({ of: () => ({ lambda: step < 3 ? 0.5 : 1 }) }) });
  const seen: number[] = [];
  const logits = run.model.logits.bind(run.model);
  run.model.logits = (batch) => {
    seen.push(...new Set(run.model.quantizedLayers.map(({ progress }) => progress)));
    return logits(batch);
  };
  const outside: number[] = [];
  const listener: Callback = { name: "listener", on: () => void outside.push(run.model.quantizedLayers[0].progress) };
  await runTraining({ ...run, callbacks: [listener] });
  expect(seen).toEqual([0, 0.25, 0.5, 0.75]);
  expect(new Set(outside)).toEqual(new Set([1]));

  const failing = smallRun();
  failing.model.logits = () => expect.fail("no logits");
  await expect(runTraining(failing)).rejects.toThrow(/no logits/);
  expect(failing.model.quantizedLayers[0].progress).toBe(1);
});

test.for(estimators.names)(
  "%s trains: the first loss is that of any estimator, the gradient is its own",
  async (name) => {
    const [plain, own] = await Promise.all(
      ["identity", name].map(async (estimator) => {
        const run = smallRun({ steps: 3, modelConfig: { quantization: { estimator } } });
        const norms: number[] = [];
        const watcher: Callback = {
          name: "watcher",
          on: (event) => void (event.type === "step" && norms.push(event.gradNorm)),
        };
        await runTraining({ ...run, callbacks: [...run.callbacks, watcher] });
        return { losses: run.losses, norms };
      }),
    );
    expect(own.losses[0]).toBe(plain.losses[0]);
    // reste is o = 1 in the first step, the straight-through estimator within its limit.
    if (name !== "identity") expect(own.norms).not.toEqual(plain.norms);
    expect(own.losses.every(Number.isFinite)).toBe(true);
  },
);

test("an annealed estimator killed on the way goes on to the same losses, to the last bit", async () => {
  const text = join(root, "text.txt");
  writeFileSync(text, Array.from({ length: 80 }, (_, i) => `${i} and ${(i * 7) % 31} are ${i % 5} apart`).join("\n"));
  const config = (estimator: unknown) => ({
    preset: "tiny",
    model: {
      ...{ vocabSize: 20, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
      quantization: { estimator } as never,
    },
    data: { files: [text], cacheDir: join(root, "cache"), validFraction: 0.2 },
    tokenizer: { kind: "characters" as const },
    train: { batch: 4, sequence: 16, steps: 8 },
    optimizer: { learningRate: 5e-3 },
    checkpoints: { every: 3 },
    backend: { name: "reference" as const },
  });
  const losses = (folder: string) => readScalars(join(folder, "metrics", "scalars.jsonl")).map(({ loss }) => loss);
  for (const name of ["reste", "soft"]) {
    const [whole, cut] = ["whole", "cut"].map((which) => join(root, `${name}-${which}`));
    const options = { config: config({ name }), clock: steppingClock() };
    await train({ ...options, runFolder: whole });
    const killer: Callback = {
      name: "killer",
      on(event) {
        if (event.type === "step" && event.step === 5) throw new Error("killed");
      },
    };
    await expect(train({ ...options, runFolder: cut, callbacks: [killer] })).rejects.toThrow(/killed/);
    await train({ ...options, runFolder: cut, resume: "auto" });
    expect(losses(cut)).toEqual(losses(whole));
  }
});
