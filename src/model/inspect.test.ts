// Oracles: counts from the shapes, written out here; TinyLlama-1.1B's published count (1,100,048,384), which is our `full`
// variant of that preset; memory that the reference backend counts while a model really trains and really generates.
import { expect, test } from "vitest";
import { createDryBackend } from "../backends/dry.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { Runtime } from "../tensor/index.ts";
import { type ModelConfig, presets } from "./config.ts";
import { inspectModel, inspectTernaryLayers, entropyBits } from "./inspect.ts";
import { Transformer } from "./transformer.ts";

const dry = () => new Runtime(createDryBackend());

/** Parameters by the shapes of the architecture. */
function counted({ vocabSize: V, width: C, layers: L, heads: H, kvHeads: G, hiddenWidth: F, ...c }: ModelConfig) {
  const kv = (C / H) * G;
  const matrices = L * (2 * C * C + 2 * kv * C + 3 * F * C);
  const norms = C + L * (2 * C + (c.variant === "bitnet" ? C + F : 0));
  return { total: matrices + norms + (c.tiedHead ? 1 : 2) * V * C, matrices, nonEmbedding: matrices + norms };
}

test.for(Object.keys(presets) as (keyof typeof presets)[])("%s has the parameters that its shapes say", (name) => {
  for (const variant of ["bitnet", "full"] as const) {
    const config = { ...presets[name], variant };
    const { total, matrices, nonEmbedding } = counted(config);
    const described = inspectModel(config, dry, { batch: 1, sequence: 1 });
    expect(described).toMatchObject({ total, nonEmbedding, ternary: variant === "bitnet" ? matrices : 0 });
    expect(described.parameters.reduce((sum, p) => sum + p.count, 0)).toBe(total);
  }
});

test("tiny has 11,417,472 parameters, and its full twin 9,216 fewer: the gains of the sub-norms", () => {
  expect(inspectModel(presets.tiny, dry, { batch: 1 }).total).toBe(11_417_472);
  expect(inspectModel({ ...presets.tiny, variant: "full" }, dry, { batch: 1 }).total).toBe(11_408_256);
});

test("tinyllama-1.1b, full, has TinyLlama's 1,100,048,384", () => {
  const config: ModelConfig = { ...presets["tinyllama-1.1b"], variant: "full" };
  expect(inspectModel(config, dry, { batch: 1, sequence: 1 }).total).toBe(1_100_048_384);
});

const small: ModelConfig = {
  ...presets.tiny,
  vocabSize: 40,
  width: 16,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 24,
  contextLength: 10,
};
const mixed: ModelConfig["quantization"] = {
  overrides: [
    { layers: "*.o_proj", weights: "int8" },
    { layers: "layers.1.*", weights: "none" },
    { layers: "layers.2.mlp.up_proj", weights: "none", activations: "absmax8" },
  ],
};
const shapes: [string, ModelConfig][] = [
  ["mixed precision", { ...small, width: 32, quantization: mixed }],
  ["bitnet", small],
  ["full", { ...small, variant: "full" }],
  ["bitnet, recomputing its blocks", { ...small, recompute: true }],
  ["full with a head of its own", { ...small, variant: "full", tiedHead: false }],
];

test.for(shapes)("memory in training is what training takes, to the byte: %s", ([, config]) => {
  const { training } = inspectModel(config, dry, { batch: 3, sequence: 7 });
  const { backend, model, runtime } = real(config);
  const input = { tokens: new Int32Array(21), batch: 3, length: 7 };
  for (let step = 0; step < 3; step++) {
    runtime.gradient(() => model.loss(input, input.tokens).loss).dispose();
    for (const parameter of model.parameters) {
      parameter.changed();
      parameter.clearGradient();
    }
  }
  expect(training.totalBytes - training.optimizerBytes).toBe(backend.stats.peakBytes);
  const { weightsBytes, gradientsBytes, optimizerBytes, quantizedBytes, activationsBytes } = training;
  expect(weightsBytes + gradientsBytes + optimizerBytes + quantizedBytes + activationsBytes).toBe(training.totalBytes);
  expect(optimizerBytes).toBe(2 * weightsBytes);
});

test("a model of mixed precision: each layer's quantizers, and what it takes packed", () => {
  const config: ModelConfig = { ...small, width: 32, quantization: mixed };
  const { quantization, layers, ternary, total, inference } = inspectModel(config, dry, { batch: 1 });
  expect(quantization).toBe("ternary but for 7 layers in float, 2 in int8 and 1 in float with absmax8 inputs");
  expect(layers.find(({ name }) => name === "model.layers.0.self_attn.o_proj")).toEqual({
    name: "model.layers.0.self_attn.o_proj",
    ...{ kind: "int8", weights: "int8", activations: null, bits: 8.5 },
  });
  // Two blocks of 32·32 + 2·16·32 + 3·24·32 ternary and int8 weights, of which 32·32 int8 each and 24·32 float once.
  const int8 = 2 * 32 * 32;
  expect(ternary).toBe(2 * (32 * 32 + 2 * 16 * 32 + 3 * 24 * 32) - 24 * 32);
  expect(inference.packedBytes).toBe(ternary / 4 + 4 * 11 + (int8 * 8.5) / 8 + 2 * (total - ternary - int8));
});

test("the optimiser's memory is what it is said to keep of each parameter", () => {
  const optimizerBytes = ({ role, count }: { role: string; count: number }) => (role === "ternary" ? 2 * count : 1);
  const { matrices } = counted(small);
  const plain = inspectModel(small, dry, { batch: 1 });
  const { training } = inspectModel(small, dry, { batch: 1, optimizerBytes });
  expect(training.optimizerBytes).toBe(2 * matrices + plain.parameters.length - 7 * small.layers);
  expect(training.totalBytes - training.optimizerBytes).toBe(plain.training.totalBytes - plain.training.optimizerBytes);
});

test("recomputing blocks takes less memory for activations, and a larger batch more", () => {
  const activations = (config: ModelConfig, batch: number) =>
    inspectModel(config, dry, { batch }).training.activationsBytes;
  expect(activations({ ...small, recompute: true }, 4)).toBeLessThan(activations(small, 4));
  expect(activations(small, 8)).toBeGreaterThan(1.9 * activations(small, 4));
});

test.for(shapes)("memory in inference is what a full context takes, to the byte: %s", ([, config]) => {
  const { inference } = inspectModel(config, dry, { batch: 1 });
  const { backend, model } = real(config);
  const cache = model.createCache(1, config.contextLength);
  for (let i = 0; i < config.contextLength; i++)
    model.lastLogits({ tokens: new Int32Array(1), batch: 1, length: 1 }, cache).dispose();
  expect(inference.presentBytes + inference.cacheBytes).toBe(backend.stats.liveBytes);
  expect(inference.presentBytes + inference.cacheBytes + inference.activationsBytes).toBe(backend.stats.peakBytes);
  expect(inference.cacheBytes).toBe(inference.cacheBytesPerToken * config.contextLength);
});

test("packed, a ternary weight takes two bits, any other 16, and each matrix a scale of 32", () => {
  const { matrices, total } = counted(small);
  const { inference, bitsPerWeight } = inspectModel(small, dry, { batch: 1 });
  expect(inference.packedBytes).toBe(matrices / 4 + 2 * (total - matrices) + 4 * 7 * 3);
  expect(bitsPerWeight).toBeCloseTo((8 * inference.packedBytes) / total, 12);
  expect(inspectModel({ ...small, variant: "full" }, dry, { batch: 1 }).bitsPerWeight).toBe(16);
});

test("ternary layers are described by shares, scale and entropy", async () => {
  const { model, runtime } = real(small);
  const { weight } = model.ternaryLayers[1]; // k_proj [8, 16]
  // mean|w| = 0.5: a quarter each of 1 and -1 (q = ±1), half of 0.
  const values = Float32Array.from({ length: 128 }, (_, i) => [1, -1, 0, 0][i % 4]);
  runtime.backend.upload(weight.tensor.buffer, values);
  weight.changed();
  const layers = await inspectTernaryLayers(model);
  expect(layers.length).toBe(21);
  expect(layers[1]).toMatchObject({ name: "model.layers.0.self_attn.k_proj.weight", shape: [8, 16] });
  expect(layers[1]).toMatchObject({ minus: 0.25, zero: 0.5, plus: 0.25, entropyBits: 1.5 });
  expect(layers[1].gamma).toBeCloseTo(0.500001, 6);
  for (const { minus, zero, plus } of layers) expect(minus + zero + plus).toBeCloseTo(1, 12);
  expect(await inspectTernaryLayers(real({ ...small, variant: "full" }).model)).toEqual([]);
});

test("entropy is 0 for one kind of weight and log2 3 for three alike", () => {
  expect(entropyBits([0, 1, 0])).toBe(0);
  expect(entropyBits([1 / 3, 1 / 3, 1 / 3])).toBeCloseTo(Math.log2(3), 12);
});

function real(config: ModelConfig) {
  const backend = createReferenceBackend();
  const runtime = new Runtime(backend);
  return { backend, runtime, model: new Transformer(runtime, config, 1) };
}
