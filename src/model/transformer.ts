/**
 * The decoder-only transformer (LLaMA-style): embedding, L pre-norm blocks of attention and gated feed-forward, a final
 * norm, the output head. It strings layers together; it does not know its backend, the trainer or the tokenizer.
 * Parameters are named as in a Hugging Face checkpoint.
 */
import {
  Attention,
  type AttentionContext,
  FeedForward,
  type LayerCache,
  type LayerQuantization,
  hasTernaryWeights,
  type LinearLayer,
  ParameterFactory,
  type Projections,
  RmsNorm,
  RotaryTable,
} from "../nn/index.ts";
import { crossEntropy } from "../ops/cross-entropy/index.ts";
import { embedding } from "../ops/embedding/index.ts";
import { matmul } from "../ops/matmul/index.ts";
import { DataError, ShapeError } from "../platform/errors.ts";
import { createRandom } from "../platform/random.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";
import { finalNormEpsOf, headWidth, type ModelConfig } from "./config.ts";
import { embeddingName, finalNorm, headName, moduleName, normNames } from "./names.ts";
import { type ModelPlan, planModel } from "./plan.ts";

/** Token ids on the host, row-major [B, T]. */
export interface TokenBatch {
  readonly tokens: Int32Array;
  readonly batch: number;
  readonly length: number;
  /** [B, T]: for each token, the first token of its document, so that attention stops there; absent: see all before. */
  readonly documentStart?: Int32Array;
  /** Told of the states of the blocks as they are computed. */
  readonly tap?: StateTap;
}

/**
 * Who looks at the states of blocks while they are computed (distillation compares them with a teacher's): tensors of the
 * forward pass, not to be written, and to be held (`storage.retain()`) by who reads them later.
 */
export interface StateTap {
  /** Of block `layer`, from 0: the projections that its attention compares. */
  attention?(layer: number, projections: Projections): void;
  /** What block `layer` gives, [B, T, C]. */
  hidden?(layer: number, state: Tensor): void;
}

/** Keys and values of all layers, for one batch of sequences. */
export interface Cache {
  readonly layers: readonly LayerCache[];
  /** Tokens that fit. */
  readonly capacity: number;
  /** Tokens in it; `logits` moves it on. */
  length: number;
  dispose(): void;
}

class Block {
  readonly attentionNorm: RmsNorm;
  readonly attention: Attention;
  readonly feedForwardNorm: RmsNorm;
  readonly feedForward: FeedForward;

  constructor(factory: ParameterFactory, config: ModelConfig, plan: ModelPlan, index: number) {
    const { width, heads, kvHeads, hiddenWidth, activation, normEps } = config;
    const linear = plan.blocks[index];
    const name = (norm: keyof typeof normNames) => moduleName(index, normNames[norm]);
    const subNorm = (norm: keyof typeof normNames) => (plan.subNorms ? name(norm) : null);
    this.attentionNorm = new RmsNorm(factory, name("attention"), width, normEps);
    this.attention = new Attention(factory, {
      heads,
      kvHeads,
      headWidth: headWidth(config),
      subNorm: subNorm("attentionSub"),
      normEps,
      linear,
    });
    this.feedForwardNorm = new RmsNorm(factory, name("feedForward"), width, normEps);
    this.feedForward = new FeedForward(factory, {
      hiddenWidth,
      activation,
      subNorm: subNorm("feedForwardSub"),
      normEps,
      linear,
    });
  }

  get linearLayers(): LinearLayer[] {
    const { query, key, value, output } = this.attention;
    const { gate, up, down } = this.feedForward;
    return [query, key, value, output, gate, up, down];
  }

  forward(runtime: Runtime, x: Tensor, at: AttentionContext): Tensor {
    const { attention, feedForward } = this;
    const middle = runtime.scope(() => attention.forward(runtime, this.attentionNorm.inputOf(x), x, at));
    return runtime.scope(() => feedForward.forward(runtime, this.feedForwardNorm.inputOf(middle), middle));
  }
}

export class Transformer {
  readonly parameters: readonly Parameter[];
  /** Every linear layer of the blocks, as data. */
  readonly plan: ModelPlan;
  /** Every linear layer of the blocks, in the plan's order. */
  readonly linearLayers: readonly LinearLayer[];
  /** Of them those that quantize their weights or their input. */
  readonly quantizedLayers: readonly LinearLayer[];
  /** The linear layer that a parameter is the weight of, by the parameter's name. */
  readonly byWeight: ReadonlyMap<string, LinearLayer>;
  /** The layers with ternary weights, in order: their parameter and their quantized weights as they are now. */
  readonly ternaryLayers: readonly LinearLayer[];
  private readonly embeddingTable: Parameter;
  private readonly blocks: Block[] = [];
  private readonly finalNorm: RmsNorm;
  private readonly head: Parameter;
  private readonly rotaryTable: RotaryTable;

  /**
   * Weights are drawn from `seed`: embeddings and linear layers N(0, initStd²), gains 1. null: left uninitialised, for
   * weights that are loaded next.
   */
  constructor(
    readonly runtime: Runtime,
    readonly config: ModelConfig,
    seed: number | null,
  ) {
    const factory = new ParameterFactory(runtime, seed === null ? null : createRandom(seed));
    const { vocabSize, width, layers, initStd } = config;
    this.plan = planModel(config);
    this.embeddingTable = factory.create(embeddingName, "embedding", [vocabSize, width], {
      std: initStd,
    });
    for (let i = 0; i < layers; i++) this.blocks.push(new Block(factory, config, this.plan, i));
    this.linearLayers = this.blocks.flatMap((block) => block.linearLayers);
    this.quantizedLayers = this.linearLayers.filter(({ spec }) => spec.weights || spec.activations);
    this.byWeight = new Map(this.linearLayers.map((layer) => [layer.weight.name, layer]));
    this.ternaryLayers = this.linearLayers.filter(({ spec }) => hasTernaryWeights(spec));
    this.finalNorm = new RmsNorm(factory, finalNorm, width, finalNormEpsOf(config));
    this.head = config.tiedHead
      ? this.embeddingTable
      : factory.create(headName, "head", [vocabSize, width], { std: initStd });
    this.rotaryTable = new RotaryTable(runtime, { ...config, headWidth: headWidth(config) });
    this.parameters = factory.parameters;
  }

  /**
   * Progressive quantization: how each layer is quantized, by its name. Training sets it for the forward and backward of a
   * step, and back to null, wholly: that is what is measured, written and saved.
   */
  setQuantization(of: ((layer: string) => LayerQuantization) | null): void {
    for (const layer of this.quantizedLayers) layer.setQuantization(of?.(layer.name) ?? null);
  }

  /** The same for lambda alone: how far each layer is quantized, from 0 (not at all) to 1. */
  setLambda(lambda: number | ((layer: string) => number)): void {
    this.setQuantization((layer) => ({ lambda: typeof lambda === "number" ? lambda : lambda(layer) }));
  }

  /** The share of the run that is done, 0 to 1, for estimators that change during it. Training sets it for a step. */
  setProgress(progress: number): void {
    for (const layer of this.quantizedLayers) layer.progress = progress;
  }

  /**
   * Mean cross-entropy in nats over the targets that are not -100, and each target's own ([B·T], 0 where -100).
   * Called inside `runtime.gradient` for training, or in a scope for evaluation.
   */
  loss(batch: TokenBatch, targets: Int32Array): { loss: Tensor; tokenLoss: Tensor } {
    const rows = batch.batch * batch.length;
    if (targets.length !== rows) throw new ShapeError(`loss: ${targets.length} targets for ${rows} tokens`);
    this.checkIds(targets, "target", true);
    const [loss, tokenLoss] = this.runtime.scope(() => {
      const logits = this.forward(batch);
      const ids = this.runtime.upload([batch.batch, batch.length], "i32", targets);
      return this.runtime.applyAll(crossEntropy, [logits, ids], {});
    });
    return { loss, tokenLoss };
  }

  /** Logits [B, T, V] of every token; with a cache, the tokens follow those in it. */
  logits(batch: TokenBatch, cache?: Cache): Tensor {
    return this.runtime.scope(() => this.forward(batch, cache));
  }

  /** Logits [B, V] of the last token only: what generation needs. */
  lastLogits(batch: TokenBatch, cache?: Cache): Tensor {
    return this.runtime.scope(() => this.forward(batch, cache, true));
  }

  /** What the head reads of every token, [B, T, C]: the last layer's states behind the final norm. */
  hiddenStates(batch: TokenBatch, cache?: Cache): Tensor {
    return this.runtime.scope(() => this.normedStates(batch, cache));
  }

  /** Makes room for so many positions now; else it grows with the texts, up to the context. */
  reservePositions(positions: number): void {
    this.rotaryTable.upTo(positions);
  }

  /** An empty cache for `batch` sequences of up to `capacity` tokens (at most the context). */
  createCache(batch: number, capacity: number): Cache {
    const { contextLength, kvHeads, layers } = this.config;
    if (capacity > contextLength)
      throw new ShapeError(`cache: ${capacity} tokens asked for, but the model's context is ${contextLength}`);
    const shape = [batch, capacity, kvHeads * headWidth(this.config)];
    const made = Array.from({ length: layers }, () => ({
      keys: this.runtime.empty(shape),
      values: this.runtime.empty(shape),
    }));
    return {
      layers: made,
      capacity,
      length: 0,
      dispose() {
        for (const { keys, values } of made) {
          keys.dispose();
          values.dispose();
        }
      },
    };
  }

  dispose(): void {
    for (const layer of this.linearLayers) layer.forgetQuantized();
    for (const parameter of this.parameters) parameter.dispose();
    this.rotaryTable.dispose();
  }

  private forward(batch: TokenBatch, cache?: Cache, lastOnly = false): Tensor {
    return this.runtime.apply(matmul, [this.normedStates(batch, cache, lastOnly), this.head.tensor], {});
  }

  private normedStates(batch: TokenBatch, cache?: Cache, lastOnly = false): Tensor {
    const { runtime, config } = this;
    const { tokens, batch: B, length: T, documentStart, tap } = batch;
    const start = cache?.length ?? 0;
    if (tokens.length !== B * T) throw new ShapeError(`model: ${tokens.length} tokens for [${B}, ${T}]`);
    const room = cache?.capacity ?? config.contextLength;
    if (start + T > room)
      throw new ShapeError(
        `model: ${start + T} tokens do not fit ${cache ? "the cache" : "the context"} of ${room}; use a shorter sequence`,
      );
    this.checkIds(tokens, "token", false);
    const ids = runtime.upload([B, T], "i32", tokens);
    const mask = documentStart ? runtime.upload([B, T], "i32", documentStart) : undefined;
    let x = runtime.apply(embedding, [ids, this.embeddingTable.tensor], {});
    for (const [i, block] of this.blocks.entries()) {
      const at: AttentionContext = {
        rotaryTable: this.rotaryTable.upTo(start + T),
        start,
        documentStart: mask,
        cache: cache?.layers[i],
        ...(tap?.attention ? { onProjections: (projections) => tap.attention!(i, projections) } : {}),
      };
      x = config.recompute
        ? runtime.checkpoint(([input]) => block.forward(runtime, input, at), [x])
        : block.forward(runtime, x, at);
      tap?.hidden?.(i, x);
    }
    if (cache) cache.length += T;
    if (lastOnly) x = this.lastRows(x, B, T);
    return this.finalNorm.forward(runtime, x);
  }

  /** [B, T, C] → [B, C]: the row of each sequence's last token. */
  private lastRows(x: Tensor, B: number, T: number): Tensor {
    const { runtime, config } = this;
    const rows = Int32Array.from({ length: B }, (_, b) => b * T + T - 1);
    return runtime.apply(embedding, [runtime.upload([B], "i32", rows), runtime.view(x, [B * T, config.width])], {});
  }

  private checkIds(ids: Int32Array, what: string, ignoreAllowed: boolean): void {
    const { vocabSize } = this.config;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (id < 0 || id >= vocabSize) {
        if (ignoreAllowed && id === -100) continue;
        throw new DataError(
          `model: ${what} ${id} is outside the vocabulary of ${vocabSize}; was the text encoded with another tokenizer?`,
        );
      }
    }
  }
}
