/** What bench/infer.ts times: our packed engine at one shape, and node-llama-cpp on a GGUF file; and the memory's speed. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createBackend } from "../src/backends/index.ts";
import {
  createPackedEngine,
  type Engine,
  type PackedEngineOptions,
  type Sequence,
  type WeightSource,
} from "../src/infer/index.ts";
import { type ModelConfig, presetConfig } from "../src/model/index.ts";
import { sumSquares } from "../src/ops/sum-squares/index.ts";
import { createRandom } from "../src/platform/random.ts";

/** The shapes of ../shared/GGUF.md's table ("Speeds to beat"), and the smallest. */
export const shapes: Record<string, ModelConfig> = {
  tiny: presetConfig("tiny"),
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

export interface Rates {
  name: string;
  /** Prompt of 512 (or the context, where it is shorter), and 128 tokens after a prompt of one. */
  promptTokensPerSecond(): Promise<number>;
  decodeTokensPerSecond(): Promise<number>;
  close(): Promise<void>;
}

const seconds = () => performance.now() / 1000;

/** Logits of the last of these tokens: as a prompt, and token by token. */
async function bothWays(engine: Engine, tokens: number[]): Promise<[Float32Array, Float32Array]> {
  const [a, b] = [engine.createSequence(), engine.createSequence()];
  const [prompt] = await engine.forward([{ sequence: a, tokens, logits: "last" }]);
  let last = prompt;
  for (const token of tokens) [last] = await engine.forward([{ sequence: b, tokens: [token], logits: "last" }]);
  a.dispose();
  b.dispose();
  return [prompt, last];
}

/**
 * Our engine, after its answer has been checked: a prompt's logits are those of the same tokens one by one, through other
 * kernels.
 */
export async function ours(
  shape: string,
  threads: number,
  options: PackedEngineOptions,
): Promise<Rates & { bytesForToken: number }> {
  const config = shapes[shape];
  const backend = await createBackend({ backend: "auto", threads });
  const engine = await createPackedEngine(backend, config, randomWeights(config), options);
  const tokens = Array.from({ length: Math.min(512, config.contextLength) }, (_, i) => (7 * i) % config.vocabSize);
  const [prompt, single] = await bothWays(engine, tokens.slice(0, 20));
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  const cosine = dot(prompt, single) / Math.sqrt(dot(prompt, prompt) * dot(single, single));
  if (!(cosine > 0.99))
    throw new Error(`${shape}: a prompt and its tokens one by one agree only to a cosine of ${cosine}`);
  const run = async (body: (sequence: Sequence) => Promise<number>) => {
    const sequence = engine.createSequence();
    const start = seconds();
    const count = await body(sequence);
    const rate = count / (seconds() - start);
    sequence.dispose();
    return rate;
  };
  return {
    name: `bitnet.ts (${threads} ${threads === 1 ? "thread" : "threads"})`,
    bytesForToken: engine.report.bytesForToken,
    promptTokensPerSecond: () =>
      run(async (sequence) => {
        await engine.forward([{ sequence, tokens, logits: "last" }]);
        return tokens.length;
      }),
    decodeTokensPerSecond: () =>
      run(async (sequence) => {
        let token = 1;
        for (let i = 0; i < 128; i++) {
          const [logits] = await engine.forward([{ sequence, tokens: [token], logits: "last" }]);
          token = logits.indexOf(Math.max(logits[0], logits[1])) % config.vocabSize;
        }
        return 128;
      }),
    async close() {
      engine.dispose();
      backend.close();
    },
  };
}

/** GB/s at which `threads` threads read memory that no cache holds: the floor of a token's time is its bytes over this. */
export async function memoryGigabytesPerSecond(threads: number): Promise<number> {
  const backend = await createBackend({ backend: "auto", threads });
  const size = 64 << 20; // numbers: 256 MiB
  const create = (shape: readonly number[], dtype: "f32" | "i32" | "i8" | "u8") => ({
    shape,
    dtype,
    buffer: backend.allocate(4 * shape.reduce((a, b) => a * b, 1)),
  });
  const x = create([size], "f32");
  for (let at = 0; at < size; at += 1 << 20) backend.upload(x.buffer, new Float32Array(1 << 20).fill(1), 4 * at);
  const sum = create([1], "f32");
  let best = 0;
  for (let i = 0; i < 5; i++) {
    const start = seconds();
    sumSquares({ backend, precision: "fp32", create }, x, sum, 0);
    best = Math.max(best, (4 * size) / (seconds() - start) / 1e9);
  }
  backend.close();
  return best;
}

interface LlamaModule {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{
        getSequence(): {
          clearHistory(): Promise<void>;
          evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
          evaluate(tokens: number[], options: object): AsyncIterable<number>;
        };
        dispose(): Promise<void>;
      }>;
      dispose(): Promise<void>;
    }>;
  }>;
}

/** node-llama-cpp, as test/judges has it installed, on a GGUF file of the same shape; null where it is not installed. */
export async function llamaCpp(file: string, threads: number): Promise<Rates | null> {
  const entry = resolve(import.meta.dirname, "../test/judges/node_modules/node-llama-cpp/dist/index.js");
  let module: LlamaModule;
  try {
    module = (await import(pathToFileURL(entry).href)) as LlamaModule;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND") return null;
    throw error;
  }
  const llama = await module.getLlama({ gpu: false, build: "never", skipDownload: true, maxThreads: threads });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize: 1024, batchSize: 512, threads });
  const sequence = context.getSequence();
  const tokens = Array.from({ length: 512 }, (_, i) => (7 * i) % 2000);
  return {
    name: `node-llama-cpp (${threads} ${threads === 1 ? "thread" : "threads"})`,
    async promptTokensPerSecond() {
      await sequence.clearHistory();
      const start = seconds();
      await sequence.evaluateWithoutGeneratingNewTokens(tokens);
      return tokens.length / (seconds() - start);
    },
    async decodeTokensPerSecond() {
      await sequence.clearHistory();
      const start = seconds();
      let count = 0;
      for await (const _ of sequence.evaluate([1], { temperature: 0, yieldEogToken: true })) if (++count === 128) break;
      return count / (seconds() - start);
    },
    async close() {
      await context.dispose();
      await model.dispose();
    },
  };
}
