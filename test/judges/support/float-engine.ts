/**
 * Our model with float activations: the same ops in the same order as model/transformer.ts, each BitLinear replaced by a
 * float product with gamma · Wq and no quantisation of its input. llama.cpp runs F32, F16 and BF16 matrices so; this mode
 * exists for that comparison alone, which is why it is here and not among the engines.
 *
 * Weights are read from the model as it multiplies. Keys and values of earlier tokens are kept, as in generation.
 */
import { hasSubNorms, headWidth, type ModelConfig, type Transformer } from "../../../src/model/index.ts";
import { add } from "../../../src/ops/add/index.ts";
import { attention } from "../../../src/ops/attention/index.ts";
import { cacheAppend } from "../../../src/ops/cache-append/index.ts";
import { embedding } from "../../../src/ops/embedding/index.ts";
import { gatedActivation } from "../../../src/ops/gated-activation/index.ts";
import { matmul } from "../../../src/ops/matmul/index.ts";
import { rmsNorm } from "../../../src/ops/rms-norm/index.ts";
import { rotary, rotaryTable } from "../../../src/ops/rotary/index.ts";
import type { Runtime, Tensor } from "../../../src/tensor/index.ts";

/** Continues a batch of sequences of one length: logits [B, T, V] of the tokens given, which follow those before. */
export type Continue = (tokens: Int32Array, length: number) => Promise<Float32Array>;

export class FloatEngine {
  private constructor(
    private readonly runtime: Runtime,
    private readonly config: ModelConfig,
    private readonly weights: ReadonlyMap<string, Tensor>,
    private readonly table: Tensor,
  ) {}

  static async of(model: Transformer): Promise<FloatEngine> {
    const { runtime, config } = model;
    const weights = new Map<string, Tensor>();
    for (const { name, tensor, shape } of model.parameters) {
      const layer = model.ternaryLayers.find(({ weight }) => weight.name === name);
      if (!layer) {
        weights.set(name, tensor);
        continue;
      }
      const { codes, scale } = layer.quantized(runtime);
      const [gamma] = await runtime.readFloats(scale);
      const values = Float32Array.from(await runtime.read(codes), (code) => (code - 1) * gamma);
      weights.set(name, runtime.upload(shape, "f32", values));
    }
    const D = headWidth(config);
    const table = rotaryTable(config.contextLength, D, config.ropeBase);
    return new FloatEngine(runtime, config, weights, runtime.upload([config.contextLength, D], "f32", table));
  }

  /** A new batch of B sequences of up to `capacity` tokens. */
  start(batch: number, capacity: number): Continue {
    const { runtime, config } = this;
    const shape = [batch, capacity, config.kvHeads * headWidth(config)];
    const caches = Array.from({ length: config.layers }, () => [runtime.empty(shape), runtime.empty(shape)] as const);
    let seen = 0;
    return async (tokens, length) => {
      const logits = runtime.scope(() => this.forward(tokens, batch, length, seen, caches));
      seen += length;
      const values = await runtime.readFloats(logits);
      logits.dispose();
      return values;
    };
  }

  private forward(
    tokens: Int32Array,
    B: number,
    T: number,
    start: number,
    caches: readonly (readonly [Tensor, Tensor])[],
  ): Tensor {
    const { runtime, config, table } = this;
    const { heads, kvHeads, activation: kind, normEps: eps } = config;
    const subNorms = hasSubNorms(config);
    const w = (name: string) => this.weights.get(`${name}.weight`)!;
    const linear = (x: Tensor, name: string) => runtime.apply(matmul, [x, w(name)], {});
    const norm = (x: Tensor, name: string) => runtime.apply(rmsNorm, [x, w(name)], { eps });
    let x = runtime.apply(embedding, [runtime.upload([B, T], "i32", tokens), w("model.embed_tokens")], {});
    for (let i = 0; i < config.layers; i++) {
      const block = `model.layers.${i}`;
      const [keys, values] = caches[i];
      const inner = norm(x, `${block}.input_layernorm`);
      const turned = (name: string, n: number) =>
        runtime.apply(rotary, [linear(inner, `${block}.self_attn.${name}`), table], { heads: n, start });
      cacheAppend(runtime.plainContext(), keys, turned("k_proj", kvHeads), start);
      cacheAppend(runtime.plainContext(), values, linear(inner, `${block}.self_attn.v_proj`), start);
      const mixed = runtime.apply(attention, [turned("q_proj", heads), keys, values], { heads, kvHeads, start });
      const sub = subNorms ? norm(mixed, `${block}.self_attn.attn_sub_norm`) : mixed;
      x = runtime.apply(add, [x, linear(sub, `${block}.self_attn.o_proj`)], {});
      const outer = norm(x, `${block}.post_attention_layernorm`);
      const [gate, up] = [linear(outer, `${block}.mlp.gate_proj`), linear(outer, `${block}.mlp.up_proj`)];
      const gated = runtime.apply(gatedActivation, [gate, up], { kind });
      const hidden = subNorms ? norm(gated, `${block}.mlp.ffn_sub_norm`) : gated;
      x = runtime.apply(add, [x, linear(hidden, `${block}.mlp.down_proj`)], {});
    }
    return runtime.apply(matmul, [norm(x, "model.norm"), w(config.tiedHead ? "model.embed_tokens" : "lm_head")], {});
  }
}

/** The model as it is: its own forward, with its cache. */
export function startModel(model: Transformer, batch: number, capacity: number): Continue {
  const cache = model.createCache(batch, capacity);
  return async (tokens, length) => {
    const logits = model.logits({ tokens, batch, length }, cache);
    const values = await model.runtime.readFloats(logits);
    logits.dispose();
    return values;
  };
}

export interface Greedy {
  /** Up to `count` tokens, the end of text included where it came. */
  tokens: number[];
  /** Of each token: its logit less the next best one's. */
  gaps: number[];
}

/** The likeliest token, again and again, for prompts of one length together. */
export async function greedy(
  next: Continue,
  prompts: readonly (readonly number[])[],
  count: number,
  vocabSize: number,
  end: number | null,
): Promise<Greedy[]> {
  const results = prompts.map((): Greedy => ({ tokens: [], gaps: [] }));
  let length = prompts[0].length;
  let tokens = Int32Array.from(prompts.flat());
  for (let step = 0; step < count; step++) {
    const logits = await next(tokens, length);
    tokens = new Int32Array(prompts.length);
    for (const [b, result] of results.entries()) {
      const row = logits.subarray((b * length + length - 1) * vocabSize, (b * length + length) * vocabSize);
      let [best, second] = [0, -1];
      for (let i = 1; i < vocabSize; i++) {
        if (row[i] > row[best]) [best, second] = [i, best];
        else if (second < 0 || row[i] > row[second]) second = i;
      }
      tokens[b] = best;
      if (end !== null && result.tokens.at(-1) === end) continue;
      result.tokens.push(best);
      result.gaps.push(row[best] - row[second]);
    }
    length = 1;
  }
  return results;
}
