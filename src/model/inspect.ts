/**
 * What a model is made of and what it costs: parameters as the model itself makes them, and memory as its own forward and
 * backward ask for it, on a runtime whose backend only counts. Nothing is typed in twice, and no weight is allocated: the
 * largest presets are inspected like the smallest. Called by cli/.
 */
import { ternaryStats, ternaryStatsPerSlot } from "../ops/ternary-stats/index.ts";
import type { ParameterRole, Runtime } from "../tensor/index.ts";
import { headWidth, type ModelConfig } from "./config.ts";
import { describeLayer, describePlan } from "./describe.ts";
import type { LayerPlan } from "./plan.ts";
import { Transformer } from "./transformer.ts";

export interface ParameterInfo {
  name: string;
  role: ParameterRole;
  shape: readonly number[];
  count: number;
}

/** Bytes of one training step. Their sum is the most that is in use at once. */
export interface TrainingMemory {
  /** Sequences computed at once (the micro-batch), and tokens in each. */
  batch: number;
  sequence: number;
  /** Master weights, float32. */
  weightsBytes: number;
  gradientsBytes: number;
  optimizerBytes: number;
  /** The quantized weights that multiply (ternary: one byte a weight; others: float32) and the table of rotary angles. */
  quantizedBytes: number;
  /** All else at the worst moment: what backward needs of the forward, logits, and what backward makes. */
  activationsBytes: number;
  totalBytes: number;
}

export interface InferenceMemory {
  /** Tokens of context that the numbers are for. */
  contextLength: number;
  /** As we hold a model now: float32 weights, one byte for each ternary weight beside them, the rotary table. */
  presentBytes: number;
  /**
   * As published: two bits a ternary weight and a float32 scale a matrix, 8.5 bits an int8 weight, float16 for the rest. Not
   * how we hold it.
   */
  packedBytes: number;
  /** Keys and values, float32, of a full context. */
  cacheBytes: number;
  cacheBytesPerToken: number;
  /** The most that a token's pass takes on top, behind a full context. */
  activationsBytes: number;
}

/** A linear layer's precision. */
export interface LayerInfo {
  name: string;
  /** In words: "ternary", "int8", "float with absmax8 inputs". */
  kind: string;
  /** The quantizer of its weights; null: float. */
  weights: string | null;
  /** The quantizer of its input; null: float. */
  activations: string | null;
  /** Of a weight, packed; the scale of a ternary matrix not counted. */
  bits: number;
}

export interface ModelDescription {
  config: ModelConfig;
  /** The linear layers in words: "ternary", "full precision", "ternary but for 7 layers in int8". */
  quantization: string;
  layers: LayerInfo[];
  parameters: ParameterInfo[];
  /** Parameters; of these ternary, and those outside the embedding and head. */
  total: number;
  ternary: number;
  nonEmbedding: number;
  /** ternary / total, and ternary / nonEmbedding. */
  ternaryShare: number;
  ternaryShareNonEmbedding: number;
  /** Of packedBytes, over all parameters. */
  bitsPerWeight: number;
  training: TrainingMemory;
  inference: InferenceMemory;
}

export interface InspectOptions {
  /** Sequences computed at once in training (the micro-batch). */
  batch: number;
  /** Tokens in each; by default the context. */
  sequence?: number;
  /** Bytes that the optimiser keeps for a parameter; by default AdamW's two moments in float32. */
  optimizerBytes?: (parameter: ParameterInfo) => number;
}

/**
 * @param createRuntime a new runtime over a backend that only counts (backends/dry.ts): on a real one, the model and its
 *                      training step would be allocated and computed
 * @throws ShapeError for a sequence over the model's context
 */
export function inspectModel(
  config: ModelConfig,
  createRuntime: () => Runtime,
  options: InspectOptions,
): ModelDescription {
  const { batch, sequence = config.contextLength, optimizerBytes = (p) => 8 * p.count } = options;
  const runtime = createRuntime();
  const model = new Transformer(runtime, config, null);
  const parameters = model.parameters.map(({ name, role, shape, size }) => ({ name, role, shape, count: size }));
  const count = (wanted: (role: ParameterRole) => boolean) =>
    parameters.reduce((sum, p) => sum + (wanted(p.role) ? p.count : 0), 0);
  const total = count(() => true);
  const ternary = count((role) => role === "ternary");
  const nonEmbedding = count((role) => role !== "embedding" && role !== "head");
  const matrices = parameters.filter(({ role }) => role === "ternary").length;
  const layers = model.plan.layers.map(layerInfo);
  // Of layers with other quantizers, what they take more or less than half precision.
  const beside = model.plan.layers.reduce((sum, layer, i) => {
    const isOther = layer.weights !== null && layer.weights.quantizer.form !== "ternary";
    return sum + (isOther ? (layer.inputs * layer.outputs * (layers[i].bits - 16)) / 8 : 0);
  }, 0);
  // What quantizers learned is in the scales.
  const learned = count((role) => role === "quantizer");
  const packedBytes = Math.ceil(ternary / 4) + 4 * matrices + 2 * (total - ternary - learned) + beside;
  return {
    config,
    quantization: describePlan(model.plan),
    layers,
    parameters,
    total,
    ternary,
    nonEmbedding,
    ternaryShare: ternary / total,
    ternaryShareNonEmbedding: ternary / nonEmbedding,
    bitsPerWeight: (8 * packedBytes) / total,
    training: trainingMemory(model, batch, sequence, {
      parameters: total,
      optimizerBytes: parameters.reduce((sum, parameter) => sum + optimizerBytes(parameter), 0),
    }),
    inference: { ...inferenceMemory(new Transformer(createRuntime(), config, null)), packedBytes },
  };
}

/** Of a weight in GGUF's types, the scales of their blocks counted. */
const typeBits = { Q8_0: 8.5, Q4_0: 4.5, F16: 16, BF16: 16, F32: 32 };

function layerInfo(layer: LayerPlan): LayerInfo {
  const { name, weights, activations } = layer;
  const quantizer = weights?.quantizer;
  const bits = !quantizer ? 16 : quantizer.form === "ternary" ? 2 : typeBits[quantizer.ggufType ?? "F32"];
  return {
    name,
    kind: describeLayer(layer),
    weights: quantizer?.name ?? null,
    activations: activations?.name ?? null,
    bits,
  };
}

function trainingMemory(
  model: Transformer,
  batch: number,
  sequence: number,
  { parameters, optimizerBytes }: { parameters: number; optimizerBytes: number },
): TrainingMemory {
  const { runtime } = model;
  const { stats } = runtime.backend;
  const input = { tokens: new Int32Array(batch * sequence), batch, length: sequence };
  const step = () => runtime.gradient(() => model.loss(input, input.tokens).loss).dispose();
  step(); // makes the gradients and the codes, which stay
  const stayingBytes = stats.liveBytes;
  stats.peakBytes = stayingBytes;
  step();
  const weightsBytes = 4 * parameters;
  const gradientsBytes = 4 * parameters;
  return {
    batch,
    sequence,
    weightsBytes,
    gradientsBytes,
    optimizerBytes,
    quantizedBytes: stayingBytes - weightsBytes - gradientsBytes,
    activationsBytes: stats.peakBytes - stayingBytes,
    totalBytes: stats.peakBytes + optimizerBytes,
  };
}

function inferenceMemory(model: Transformer): Omit<InferenceMemory, "packedBytes"> {
  const { runtime, config } = model;
  const { stats } = runtime.backend;
  const token = { tokens: new Int32Array(1), batch: 1, length: 1 };
  model.reservePositions(config.contextLength);
  model.lastLogits(token).dispose(); // makes the codes
  const presentBytes = stats.liveBytes;
  const cache = model.createCache(1, config.contextLength);
  const cacheBytes = stats.liveBytes - presentBytes;
  cache.length = config.contextLength - 1;
  stats.peakBytes = stats.liveBytes;
  model.lastLogits(token, cache).dispose();
  return {
    contextLength: config.contextLength,
    presentBytes,
    cacheBytes,
    cacheBytesPerToken: 2 * 4 * config.layers * config.kvHeads * headWidth(config),
    activationsBytes: stats.peakBytes - presentBytes - cacheBytes,
  };
}

export interface TernaryLayerInfo {
  name: string;
  shape: readonly number[];
  /** Shares of -1, 0 and +1; their sum is 1. */
  minus: number;
  zero: number;
  plus: number;
  /** The matrix's scale. */
  gamma: number;
  /** Entropy of a weight, -sum p log2 p: bits that an ideal code would need; at most log2 3 = 1.585. */
  entropyBits: number;
}

/** Each ternary layer of a model as it multiplies now; empty for a model without any. On the model's own backend. */
export async function inspectTernaryLayers(model: Transformer): Promise<TernaryLayerInfo[]> {
  const { runtime } = model;
  const layers = model.ternaryLayers;
  if (layers.length === 0) return [];
  const counts = runtime.empty([layers.length * ternaryStatsPerSlot], "i32");
  try {
    for (const [i, layer] of layers.entries())
      ternaryStats(runtime.plainContext(), layer.quantized(runtime).codes, null, counts, i);
    const values = await runtime.read(counts);
    return await Promise.all(
      layers.map(async (layer, i) => {
        const { name, shape, size } = layer.weight;
        const at = i * ternaryStatsPerSlot;
        const [minus, zero, plus] = [0, 1, 2].map((k) => values[at + k] / size);
        const [gamma] = await runtime.readFloats(layer.quantized(runtime).scale);
        return { name, shape, minus, zero, plus, gamma, entropyBits: entropyBits([minus, zero, plus]) };
      }),
    );
  } finally {
    counts.dispose();
  }
}

/** -sum p log2 p of shares that sum to 1, in bits. */
export function entropyBits(shares: readonly number[]): number {
  return shares.reduce((sum, p) => (p > 0 ? sum - p * Math.log2(p) : sum), 0);
}
