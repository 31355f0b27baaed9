// Oracle: what training is for. Over three passes of a text the loss of each pass is below the one before, and ends well
// below ln V; a small batch moves every parameter, since its gradient reaches each. For both variants, through the front door.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createReferenceBackend } from "../src/backends/index.ts";
import { presets, Transformer } from "../src/model/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { Runtime } from "../src/tensor/index.ts";
import { train } from "../src/train/index.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-epochs-"));
afterAll(() => rmSync(root, { recursive: true }));

/** Sentences in which each word says much of the next. */
function story(i: number): string {
  const random = createRandom(i);
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  return Array.from({ length: 6 }, () => `the ${pick(["cat", "dog", "hen"])} sat on the ${pick(["mat", "rug"])}.`).join(
    " ",
  );
}

const sizes = { vocabSize: 32, width: 32, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 48, contextLength: 32 };

test.for(["bitnet", "full"] as const)("%s: the loss falls from each of three epochs to the next", async (variant) => {
  const text = join(root, `${variant}.txt`);
  writeFileSync(text, Array.from({ length: 60 }, (_, i) => story(i)).join("\n<|endoftext|>\n"));
  const report = await train({
    config: {
      preset: "tiny",
      model: { ...sizes, variant },
      data: { files: [text], cacheDir: join(root, "cache"), validFraction: 0.1 },
      tokenizer: { kind: "characters" },
      train: { batch: 8, sequence: 32, epochs: 3, seed: 1 },
      optimizer: { learningRate: 5e-3 },
    },
    runFolder: join(root, variant),
  });
  expect(report.reason).toBe("finished");
  const losses = report.epochs.map(({ loss }) => loss);
  expect(losses).toHaveLength(3);
  expect(losses[1]).toBeLessThan(losses[0]);
  expect(losses[2]).toBeLessThan(losses[1]);
  expect(losses[2]).toBeLessThan(0.7 * Math.log(sizes.vocabSize));
  expect(report.after!.loss).toBeLessThan(report.before!.loss);
});

test.for(["bitnet", "full"] as const)("%s: gradients flow to every parameter on a small batch", async (variant) => {
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(runtime, { ...presets.tiny, ...sizes, variant, tiedHead: false }, 3);
  const random = createRandom(2);
  // Every token is there, so that every row of the embedding is.
  const tokens = Int32Array.from({ length: 2 * 32 }, (_, i) => (i < 32 ? i : random.integer(32)));
  const targets = Int32Array.from({ length: 2 * 32 }, () => random.integer(32));
  const batch = { tokens, batch: 2, length: 32 };
  const loss = runtime.gradient(() => model.loss(batch, targets).loss);
  expect(model.parameters.length).toBeGreaterThan(20);
  for (const { name, gradient } of model.parameters) {
    const values = await runtime.readFloats(gradient!);
    expect(values.every(Number.isFinite), name).toBe(true);
    expect(
      values.some((value) => value !== 0),
      `${name} has no gradient`,
    ).toBe(true);
  }
  loss.dispose();
  model.dispose();
});
