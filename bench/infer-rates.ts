/**
 * What bench/infer.ts times: our packed engine and node-llama-cpp, both on one GGUF file; and what a machine allows at most.
 * randomWeights: weights without a file, for bench/infer-profile.ts.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { BackendChoice } from "../src/backends/index.ts";
import { openEngine, type PackedEngineOptions, type WeightSource } from "../src/infer/index.ts";
import { fastestWeights } from "../src/infer/packed/options.ts";
import { headWidth, type ModelConfig, presetConfig } from "../src/model/index.ts";
import { pageBytes, pageTokens } from "../src/ops/cached-attention/index.ts";
import { createRandom } from "../src/platform/random.ts";

/**
 * The shapes of the speeds to beat, with a tied head and SwiGLU, which llama.cpp's architecture "bitnet" has (2b4t's own
 * squared ReLU it cannot run); and the smallest that its blocks of 256 fit, to try the bench.
 */
export const shapes: Record<string, ModelConfig> = {
  tiny: { ...presetConfig("tiny"), width: 512, hiddenWidth: 1536, contextLength: 1024 },
  "100m": {
    ...presetConfig("95m"),
    width: 768,
    layers: 12,
    heads: 12,
    kvHeads: 12,
    hiddenWidth: 2048,
    vocabSize: 32002,
    contextLength: 2048,
  },
  "700m": { ...presetConfig("700m"), vocabSize: 32002 },
  "2b4t": presetConfig("2b4t"),
};
for (const config of Object.values(shapes)) Object.assign(config, { tiedHead: true, activation: "silu" });

/** Random codes and floats, fast: the weights of no model. */
export function randomWeights(config: ModelConfig, seed = 1): WeightSource {
  const random = createRandom(seed);
  const shapeOf = (name: string): [n: number, k: number] => {
    const { width, kvHeads, heads, hiddenWidth } = config;
    const kv = (width / heads) * kvHeads;
    if (/q_proj|o_proj/.test(name)) return [width, width];
    if (/k_proj|v_proj/.test(name)) return [kv, width];
    return /down_proj/.test(name) ? [width, hiddenWidth] : [hiddenWidth, width];
  };
  // One block of randomness, laid end to end from a random place on.
  const block = Uint8Array.from({ length: 1 << 16 }, () => random.integer(3));
  const normals = Float32Array.from({ length: 1 << 16 }, () => random.normal());
  const laid = <T extends Uint8Array | Float32Array>(from: T, to: T): T => {
    for (let at = 0; at < to.length; ) {
      const start = random.integer(from.length);
      const piece = from.subarray(start, start + Math.min(from.length - start, to.length - at));
      to.set(piece as never, at);
      at += piece.length;
    }
    return to;
  };
  return {
    async ternary(name) {
      const [n, k] = shapeOf(name);
      return { codes: laid(block, new Uint8Array(n * k)), scale: 1 / Math.sqrt(k) };
    },
    async floats(name, _first, rows) {
      if (name.includes("norm")) return new Float32Array(rows).fill(1);
      return laid(normals, new Float32Array(rows * config.width)).map((v) => v * 0.05);
    },
  };
}

/** One program with one number of threads and one kind of head, its model loaded. */
export interface Contender {
  program: "bitnet.ts" | "node-llama-cpp";
  threads: number;
  /** Of our engine. */
  head: string | null;
  weights: string | null;
  /** Bytes of weights that a token reads, and of keys and values for each position that it sees; null where unknown. */
  bytesForToken: number | null;
  bytesForPosition: number | null;
  /** Logits behind the last of these tokens, read as one prompt. */
  logits(tokens: readonly number[]): Promise<Float32Array>;
  /** The same read one by one; absent where a program only reads prompts. */
  logitsOneByOne?(tokens: readonly number[]): Promise<Float32Array>;
  /** Tokens a second: of a prompt of `count`, and of `count` likeliest tokens, one by one, after a prompt of one. */
  promptRate(count: number): Promise<number>;
  decodeRate(count: number): Promise<number>;
  close(): Promise<void>;
}

export function cosine(x: Float32Array, y: Float32Array): number {
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

const seconds = () => performance.now() / 1000;
const promptOf = (count: number) => Array.from({ length: count }, (_, i) => 3 + ((7 * i) % 1900));

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

export async function ours(
  file: string,
  threads: number,
  packed: PackedEngineOptions,
  choice: BackendChoice = { backend: "auto" },
): Promise<Contender> {
  const { engine, config, backend, close } = await openEngine(file, { backend: { ...choice, threads }, packed });
  const { weights = "auto", cache = "f32" } = packed;
  const { heads, kvHeads, layers } = config;
  const page = pageBytes({ heads, kvHeads, headWidth: headWidth(config), format: cache });
  const logits = new Float32Array(engine.vocabSize);
  const { bytesForToken } = (engine as unknown as { report: { bytesForToken: number } }).report;
  const fresh = async <T>(body: (forward: (tokens: readonly number[]) => Promise<Float32Array>) => Promise<T>) => {
    const sequence = engine.createSequence();
    try {
      return await body(async (tokens) => (await engine.forward([{ sequence, tokens, logits: "last" }]))[0]);
    } finally {
      sequence.dispose();
    }
  };
  return {
    ...{ program: "bitnet.ts", threads, head: packed.head ?? null, bytesForToken },
    weights: weights === "auto" ? fastestWeights(backend, config) : weights,
    bytesForPosition: (2 * layers * page) / pageTokens,
    logits: (tokens) => fresh((forward) => forward(tokens)),
    logitsOneByOne: (tokens) =>
      fresh(async (forward) => {
        let last = new Float32Array(0);
        for (const token of tokens) last = (await forward([token])) as Float32Array<ArrayBuffer>;
        return last;
      }),
    promptRate: (count) =>
      fresh(async (forward) => {
        const start = seconds();
        await forward(promptOf(count));
        return count / (seconds() - start);
      }),
    async decodeRate(count) {
      const sequence = engine.createSequence();
      let token = 1;
      const start = seconds();
      for (let i = 0; i < count; i++) {
        await engine.forward([{ sequence, tokens: [token], logits: "last", into: logits }]);
        token = likeliest(logits);
      }
      const rate = count / (seconds() - start);
      sequence.dispose();
      return rate;
    },
    async close() {
      close();
    },
  };
}

interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  evaluate(tokens: number[], options: object): AsyncIterable<number>;
  controlledEvaluate(tokens: unknown[]): Promise<{ next: { logits: Map<number, number> } }[]>;
}
interface LlamaModule {
  LlamaLogLevel: { error: string };
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{ getSequence(): LlamaSequence; dispose(): Promise<void> }>;
      dispose(): Promise<void>;
    }>;
  }>;
}

/** node-llama-cpp, as test/judges has it installed; null where it is not. */
export async function llamaCpp(file: string, threads: number): Promise<Contender | null> {
  const entry = resolve(import.meta.dirname, "../test/judges/node_modules/node-llama-cpp/dist/index.js");
  let module: LlamaModule;
  try {
    module = (await import(pathToFileURL(entry).href)) as LlamaModule;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND") return null;
    throw error;
  }
  const logLevel = module.LlamaLogLevel.error;
  const llama = await module.getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    maxThreads: threads,
    logLevel,
  });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize: 1024, batchSize: 512, threads });
  const sequence = context.getSequence();
  return {
    ...{ program: "node-llama-cpp", threads, head: null, weights: null, bytesForToken: null, bytesForPosition: null },
    async logits(tokens) {
      await sequence.clearHistory();
      const asked = tokens.map((token, i) =>
        i === tokens.length - 1 ? [token, { generateNext: { logits: true } }] : token,
      );
      const { next } = (await sequence.controlledEvaluate(asked)).at(-1)!;
      const values = new Float32Array(next.logits.size);
      for (const [token, logit] of next.logits) values[token] = logit;
      return values;
    },
    async promptRate(count) {
      await sequence.clearHistory();
      const tokens = promptOf(count);
      const start = seconds();
      await sequence.evaluateWithoutGeneratingNewTokens(tokens);
      return count / (seconds() - start);
    },
    async decodeRate(count) {
      await sequence.clearHistory();
      const start = seconds();
      let made = 0;
      const tokens = sequence.evaluate([1], { temperature: 0, yieldEogToken: true });
      for await (const _ of tokens) if (++made === count) break;
      return made / (seconds() - start);
    },
    async close() {
      await context.dispose();
      await model.dispose();
    },
  };
}

/**
 * Operations of a prompt of T tokens whose last logits are wanted: int8 by ternary, two for each weight and token, but that
 * the last layer's behind attention are one token's; and of attention in float32, of what causality leaves, two products.
 */
export function promptOperations(config: ModelConfig, T: number): { int8: number; float: number } {
  const { width: C, hiddenWidth: F, heads, kvHeads, layers } = config;
  const D = headWidth(config);
  const [qkv, rest] = [C * (heads + 2 * kvHeads) * D, heads * D * C + 3 * C * F];
  return {
    int8: 2 * (layers * (qkv + rest) * T - rest * (T - 1)),
    float: layers * 4 * heads * D * ((T * (T + 1)) / 2),
  };
}
