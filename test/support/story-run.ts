/** Whole training runs (`train`) small enough for a test: a one-layer model over made-up stories, in folders of their own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { createRandom } from "../../src/platform/random.ts";
import type { RunConfigPatch } from "../../src/train/config-schema.ts";
import type { Callback } from "../../src/train/events.ts";
import { readScalars } from "../../src/train/scalars.ts";
import { type TrainOptions, type TrainReport, train } from "../../src/train/train.ts";
import { steppingClock } from "./small-run.ts";

const words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "the", "dog"];
function story(i: number): string {
  const random = createRandom(i);
  return Array.from({ length: 12 }, () => words[random.integer(words.length)]).join(" ");
}

/** A folder for this file's runs, the text, and what runs on it; call it once, at the top of a test file. */
export function storyRuns() {
  const root = mkdtempSync(join(tmpdir(), "bitnet-train-"));
  afterAll(() => rmSync(root, { recursive: true }));
  let names = 0;
  const fresh = () => join(root, `run${++names}`);
  const text = join(root, "stories.txt");
  writeFileSync(text, Array.from({ length: 60 }, (_, i) => story(i)).join("\n<|endoftext|>\n"));

  const small: RunConfigPatch = {
    preset: "tiny",
    model: { vocabSize: 20, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
    data: { files: [text], cacheDir: join(root, "cache"), validFraction: 0.2 },
    tokenizer: { kind: "characters" },
    train: { batch: 4, sequence: 16, microBatch: 2, steps: 12, seed: 4 },
    optimizer: { learningRate: 5e-3 },
    evaluation: { every: 4, batches: 1 },
    checkpoints: { every: 4, keepLast: 3 },
    metrics: { layersEvery: 6 },
    samples: { every: 6, prompts: ["the", ""], tokens: 3 },
    backend: { name: "reference" },
  };
  const run = (options: Partial<TrainOptions> = {}, ...patches: RunConfigPatch[]): Promise<TrainReport> =>
    train({
      config: [{ from: "test", patch: small }, ...patches.map((patch) => ({ from: "test", patch }))],
      clock: steppingClock(),
      ...options,
    });
  /** An uninterrupted run, with samples that say their seed. */
  const runWhole = (folder: string) =>
    run({
      runFolder: folder,
      sampler:
        () =>
        async (prompt, { seed }) =>
          `${prompt} ${seed}`,
    });
  return { root, fresh, text, small, run, runWhole };
}

/** Training and validation losses by step, from the run's own file. */
export function curve(folder: string): Record<string, unknown>[] {
  return readScalars(join(folder, "metrics", "scalars.jsonl")).map(
    ({ step, loss, val_loss, grad_norm, ppl_smoothed }) =>
      Object.fromEntries(
        Object.entries({ step, loss, val_loss, grad_norm, ppl_smoothed }).filter(([, v]) => v !== undefined),
      ),
  );
}

/** Ends the process's work at a step, as a kill would: nothing is saved, nothing is closed properly. */
export class Killed extends Error {}
export const killAt = (step: number): Callback => ({
  name: "killer",
  on(event) {
    if (event.type === "step" && event.step === step) throw new Killed();
  },
});
