/**
 * Causal self-attention with grouped key/value heads and rotary positions; a sub-norm before the output projection where
 * the model has one. Read with a cache (inference) or without (training).
 */
import { attention } from "../ops/attention/index.ts";
import { cacheAppend } from "../ops/cache-append/index.ts";
import { rotary } from "../ops/rotary/index.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";
import { applyLinear, LinearInput, LinearLayer, type LinearSpec } from "./linear/index.ts";
import { RmsNorm } from "./norm.ts";

export interface AttentionConfig {
  /** H, query heads */
  heads: number;
  /** G, key and value heads; divides H */
  kvHeads: number;
  /** D */
  headWidth: number;
  /** The name of the norm before the output projection; null: there is none. */
  subNorm: string | null;
  normEps: number;
  /** Its linear layers. */
  linear: Record<"query" | "key" | "value" | "output", LinearSpec>;
}

/** Keys and values of the tokens already seen, for one layer: [B, S, G·D] each. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Where in its sequence a piece of text stands. */
export interface AttentionContext {
  /** Rotary table [S, D]. */
  rotaryTable: Tensor;
  /** Position of the piece's first token. */
  start: number;
  /** [B, T] i32: the first token that each token may see; absent: all before it. */
  documentStart?: Tensor;
  cache?: LayerCache;
  /** Told of the projections of x, before positions are put into them: [B, T, H·D], and [B, T, G·D] twice. */
  onProjections?(projections: Projections): void;
}

/** What attention compares and gathers. */
export interface Projections {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
}

export class Attention {
  readonly query: LinearLayer;
  readonly key: LinearLayer;
  readonly value: LinearLayer;
  readonly output: LinearLayer;
  readonly subNorm: RmsNorm | null;

  constructor(
    factory: ParameterFactory,
    readonly config: AttentionConfig,
  ) {
    const { heads, headWidth, linear } = config;
    this.query = new LinearLayer(factory, linear.query);
    this.key = new LinearLayer(factory, linear.key);
    this.value = new LinearLayer(factory, linear.value);
    this.output = new LinearLayer(factory, linear.output);
    this.subNorm = config.subNorm ? new RmsNorm(factory, config.subNorm, heads * headWidth, config.normEps) : null;
  }

  /** x: [B, T, C] behind the block's norm → residual + [B, T, C]. */
  forward(runtime: Runtime, x: LinearInput, residual: Tensor, at: AttentionContext): Tensor {
    const { heads, kvHeads } = this.config;
    const { start, rotaryTable, cache } = at;
    const [q0, k0, v] = applyLinear(runtime, x, [this.query, this.key, this.value]);
    at.onProjections?.({ query: q0, key: k0, value: v });
    const q = runtime.apply(rotary, [q0, rotaryTable], { heads, start });
    const k = runtime.apply(rotary, [k0, rotaryTable], { heads: kvHeads, start });
    const mask = at.documentStart ? [at.documentStart] : [];
    let mixed: Tensor;
    if (cache) {
      cacheAppend(runtime.plainContext(), cache.keys, k, start);
      cacheAppend(runtime.plainContext(), cache.values, v, start);
      mixed = runtime.apply(attention, [q, cache.keys, cache.values, ...mask], { heads, kvHeads, start });
    } else {
      mixed = runtime.apply(attention, [q, k, v, ...mask], { heads, kvHeads, start });
    }
    const input = this.subNorm ? this.subNorm.inputOf(mixed) : new LinearInput(mixed);
    return applyLinear(runtime, input, [this.output], residual)[0];
  }
}
