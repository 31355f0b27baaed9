// Training from weights that are there. Oracle: the weights themselves: the loss before the first step is that of the
// model begun from, and the run's tokenizer and sizes are its.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { steppingClock } from "../../test/support/small-run.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { convertToBitnet, loadModel } from "../exchange/index.ts";
import { saveModelFolder } from "../checkpoint/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { plannedConfig } from "./choose-run.ts";
import { type TrainOptions, type TrainReport, train } from "./train.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-from-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);
const sizes = { vocabSize: 20, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 };
const common: RunConfigPatch = {
  preset: "tiny",
  data: { files: [at("text.txt")], cacheDir: at("cache"), validFraction: 0.2 },
  train: { batch: 4, sequence: 16, microBatch: 4, steps: 6 },
  samples: { every: null },
  metrics: { layersEvery: null, tensorboard: false },
  backend: { name: "reference" },
};

const go = (options: Partial<TrainOptions>, patch: RunConfigPatch = {}): Promise<TrainReport> =>
  train({
    config: [
      { from: "test", patch: common },
      { from: "test", patch },
    ],
    clock: steppingClock(),
    ...options,
  });

let first: TrainReport;
beforeAll(async () => {
  writeFileSync(at("text.txt"), "the cat sat on a mat and saw the dog. ".repeat(60));
  first = await go(
    { runFolder: at("full") },
    { model: { ...sizes, variant: "full" }, tokenizer: { kind: "characters" } },
  );
});

test("a run begun from another's weights starts at its loss, with its sizes and tokenizer, and step 0", async () => {
  const next = await go({ from: at("full"), runFolder: at("next") });
  expect(next.before!.loss).toBe(first.after!.loss);
  expect(next.step).toBe(6);
  expect(next.after!.loss).toBeLessThan(next.before!.loss);
});

test("without a preset: the training settings of the model's run, or of the preset nearest in size, which is told", async () => {
  const { preset: _, ...patch } = common;
  const notes: string[] = [];
  const options = (from: string) => ({
    config: [{ from: "test", patch }],
    from,
    clock: steppingClock(),
    onNote: (note: string) => notes.push(note),
  });
  const report = await train({ ...options(at("full")), runFolder: at("unnamed") });
  expect(report.before!.loss).toBe(first.after!.loss);
  expect(notes).toContain(`training settings are those of "tiny" (as in ${at("full")}); name a preset to take others`);
  const { model, tokenizer } = await loadModel(at("full"), new Runtime(createReferenceBackend()));
  await saveModelFolder(at("alone"), model, tokenizer);
  const { preset, train: settings, model: planned } = await plannedConfig(options(at("alone")));
  expect([preset, settings.batch, planned.width, planned.variant]).toEqual(["nano", 4, 16, "full"]);
  const bare = await plannedConfig({ ...options(at("alone")), config: [] });
  // Its context is shorter than the preset's sequence.
  expect([bare.preset, bare.train.sequence]).toEqual(["nano", 16]);
});

test("a full-precision model, converted, is trained on as a ternary one", async () => {
  const { model, tokenizer } = await loadModel(at("full"), new Runtime(createReferenceBackend()));
  const { model: made } = await convertToBitnet(model);
  await saveModelFolder(at("converted"), made, tokenizer);
  const report = await go({ from: at("converted"), runFolder: at("ternary") });
  expect(report.parameters.ternary).toBe(2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24);
  expect(report.after!.loss).toBeLessThan(report.before!.loss);
});

test("a resumed run goes on from its own weights, not from those that it was begun from", async () => {
  const longer = await go({ from: at("full"), resume: at("next") }, { train: { steps: 8 } });
  expect(longer.step).toBe(8);
});

test("what does not fit the weights is refused, and no run is left behind", async () => {
  await expect(go({ from: at("full"), runFolder: at("x") }, { model: { width: 32 } })).rejects.toThrow(
    /its model has width 16, but 32 was asked for; weights fit one model only, leave model.width out/,
  );
  await expect(go({ from: at("full"), runFolder: at("x") }, { model: { variant: "bitnet" } })).rejects.toThrow(
    /its model has variant "full", but "bitnet" was asked for/,
  );
  await expect(go({ from: at("nothing"), runFolder: at("x") })).rejects.toThrow(/nothing: no such file or folder/);
  await expect(go({ from: at("text.txt"), runFolder: at("x") })).rejects.toThrow(/text.txt: is a file/);
  const other = (await trainCharacters(["xyz"])).tokenizer;
  writeFileSync(at("other.json"), JSON.stringify(other.toJson()));
  await expect(go({ from: at("full"), runFolder: at("x") }, { tokenizer: { file: at("other.json") } })).rejects.toThrow(
    /is another tokenizer than the one in/,
  );
});
