// What quantizers learn, in training. Oracles: an uninterrupted run, for one that was stopped; the formula of the gradient, with the
// gradient at the quantized weights taken from a layer without the rule; the weights, for where a run begins.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { smallModel, smallRun, steppingClock } from "../../test/support/small-run.ts";

import { createReferenceBackend } from "../backends/reference.ts";
import { createDryBackend } from "../backends/dry.ts";
import { loadModel } from "../exchange/index.ts";
import { inspectModel, type QuantizationConfig, Transformer } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import type { Callback } from "./events.ts";
import { readScalars } from "./scalars.ts";
import { type TrainOptions, train } from "./train.ts";
import { runTraining } from "./trainer.ts";

const learned = ["learned", "lsq", "seq"];
const scaleName = "model.layers.0.self_attn.q_proj.weight_scale";
const scaleOf = async (model: Transformer, name = scaleName) =>
  (await model.runtime.readFloats(model.parameters.find((p) => p.name === name)!.tensor))[0];
const make = (quantization: QuantizationConfig) =>
  new Transformer(new Runtime(createReferenceBackend()), { ...smallModel, quantization }, 3);
const meanOf = (weights: Float32Array) => weights.reduce((sum, w) => sum + Math.abs(w), 0) / weights.length;

test.for([
  ["learned", 1],
  ["lsq", 2],
  ["seq", 1.5],
] as const)(
  "%s begins by %f times mean|w|, of the same weights that another quantizer begins with",
  async ([weights, times]) => {
    const model = make({ weights });
    const plain = make({});
    const [q] = model.linearLayers;
    const values = await model.runtime.readFloats(q.weight.tensor);
    expect(values).toEqual(await plain.runtime.readFloats(plain.linearLayers[0].weight.tensor));
    expect(await scaleOf(model)).toBeCloseTo(times * meanOf(values), 6);
    const most = make({ weights: { name: weights, initial: "max" } });
    expect(await scaleOf(most)).toBe(Math.max(...values.map(Math.abs)));
  },
);

test.for(learned)("%s: the scale is trained, without weight decay, and codes follow it", async (weights) => {
  const run = smallRun({ steps: 3, modelConfig: { quantization: { weights } } });
  const { model } = run;
  const before = await scaleOf(model);
  await runTraining(run);
  const after = await scaleOf(model);
  expect(after).not.toBe(before);
  const [layer] = model.linearLayers;
  const [s] = await model.runtime.readFloats(layer.quantized(model.runtime).scale);
  expect(s).toBeCloseTo(weights === "seq" ? (2 * after) / 3 : after, 6);
});

test("a frozen scale stays, and so do frozen weights whose scale is trained", async () => {
  for (const [frozen, other] of [
    [scaleName, "model.layers.0.self_attn.q_proj.weight"],
    ["model.layers.0.self_attn.q_proj.weight", scaleName],
  ]) {
    const run = smallRun({ steps: 2, modelConfig: { quantization: { weights: "lsq" } } });
    const { model } = run;
    const of = (name: string) => model.parameters.find((p) => p.name === name)!;
    of(frozen).setFrozen(true);
    run.optimizer.parametersChanged?.();
    const read = (name: string) => model.runtime.readFloats(of(name).tensor);
    const before = [await read(frozen), await read(other)];
    await runTraining(run);
    expect(await read(frozen)).toEqual(before[0]);
    expect(await read(other)).not.toEqual(before[1]);
  }
});

test("inspect counts them, and names their role", () => {
  const config = { ...smallModel, quantization: { weights: "lsq" } };
  const found = inspectModel(config, () => new Runtime(createDryBackend()), { batch: 1 });
  const plain = inspectModel(smallModel, () => new Runtime(createDryBackend()), { batch: 1 });
  expect(found.total - plain.total).toBe(7 * smallModel.layers);
  expect(found.parameters.find(({ name }) => name === scaleName)).toMatchObject({ role: "quantizer", count: 1 });
  // Packed, they are the scales that are there already.
  expect(found.inference.packedBytes).toBe(plain.inference.packedBytes);
  expect(found.quantization).toBe("ternary (lsq)");
});

describe("a run", () => {
  const root = mkdtempSync(join(tmpdir(), "bitnet-learned-"));
  afterAll(() => rmSync(root, { recursive: true }));
  const text = join(root, "text.txt");
  writeFileSync(text, "the cat sat on a mat and saw the dog. ".repeat(60));
  const common: RunConfigPatch = {
    preset: "tiny",
    model: { vocabSize: 20, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 },
    tokenizer: { kind: "characters" },
    data: { files: [text], cacheDir: join(root, "cache"), validFraction: 0.2 },
    train: { batch: 4, sequence: 16, microBatch: 4, steps: 6 },
    optimizer: { decayEmbeddings: true },
    checkpoints: { every: 3 },
    samples: { every: null },
    metrics: { layersEvery: null, tensorboard: false },
    backend: { name: "reference" },
  };
  const go = (folder: string, patch: RunConfigPatch, options: Partial<TrainOptions> = {}) => {
    // A run that begins from weights has their sizes and tokenizer.
    const { model: _, tokenizer: __, ...rest } = common;
    return train({
      config: [options.from ? rest : common, patch].map((one) => ({ from: "test", patch: one })),
      clock: steppingClock(),
      ...(options.resume ? {} : { runFolder: join(root, folder) }),
      ...options,
    });
  };
  const losses = (folder: string) =>
    readScalars(join(root, folder, "metrics", "scalars.jsonl")).flatMap(({ step, loss }) =>
      loss === undefined ? [] : [[step, loss]],
    );

  test.for(learned)("%s: stopped and resumed, has the losses of one that was not, to the last bit", async (weights) => {
    const patch: RunConfigPatch = { model: { quantization: { weights } } };
    await go(`${weights}-whole`, patch);
    const signal = new AbortController();
    const stopper: Callback = {
      name: "stopper",
      on: (event) => void (event.type === "step" && event.step === 4 && signal.abort()),
    };
    const parts = join(root, `${weights}-parts`);
    await go(`${weights}-parts`, patch, { signal: signal.signal, callbacks: [stopper] });
    expect(losses(`${weights}-parts`)).toHaveLength(4);
    await go("", patch, { resume: parts });
    expect(losses(`${weights}-parts`)).toEqual(losses(`${weights}-whole`));
  });

  test("begun from weights without them, they begin by those weights; of the same quantizer, as they were", async () => {
    await go("full", { model: { variant: "full" } });
    const start = await loadModel(join(root, "full"), new Runtime(createReferenceBackend()));
    const values = await start.model.runtime.readFloats(start.model.linearLayers[0].weight.tensor);
    const none = { train: { steps: 1 }, optimizer: { learningRate: 1e-12 } };
    const begun = async (name: string, weights: string, from: string) => {
      await go(name, { ...none, model: { quantization: { weights } } }, { from: join(root, from) });
      return (await loadModel(join(root, name), new Runtime(createReferenceBackend()))).model;
    };
    const lsq = await begun("from-full", "lsq", "full");
    expect(await scaleOf(lsq)).toBeCloseTo(2 * meanOf(values), 6);
    await go("trained", { model: { quantization: { weights: "lsq" } }, optimizer: { learningRate: 0.01 } });
    const trained = (await loadModel(join(root, "trained"), new Runtime(createReferenceBackend()))).model;
    expect(await scaleOf(await begun("from-same", "lsq", "trained"))).toBeCloseTo(await scaleOf(trained), 7);
    const own = await trained.runtime.readFloats(trained.linearLayers[0].weight.tensor);
    expect(await scaleOf(await begun("from-other", "seq", "trained"))).toBeCloseTo(1.5 * meanOf(own), 6);
    expect((await begun("from-lsq", "twn", "trained")).parameters.some(({ role }) => role === "quantizer")).toBe(false);
  });
});
