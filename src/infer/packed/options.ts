/** How the packed engine holds what it reads, and what it does at the context's end. */
import type { Backend } from "../../backends/backend.ts";
import { headWidth, type ModelConfig, planModel } from "../../model/index.ts";
import type { CacheFormat } from "../../ops/cached-attention/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { MatrixFormat } from "../../quant/matrix-rows.ts";
import type { TernaryFormat } from "../../quant/packed-ternary.ts";
import type { WeightSource } from "./weights.ts";

export interface PackedEngineOptions {
  /**
   * Ternary weights in memory: 2bit, trits (five to a byte, 1.6 bits), or auto: what this machine reads fastest. The results
   * are the same. Default auto.
   */
  weights?: TernaryFormat | "auto";
  /** Output head and embeddings. Default: what holds them as exactly as they came (f32; of a file in f16 or bf16, that). */
  head?: MatrixFormat;
  /** Matrices that are not ternary. Default f32: exact. */
  linear?: MatrixFormat;
  /** Keys and values. Default f32: exact. */
  cache?: CacheFormat;
  /**
   * When a sequence reaches the model's context: stop (forward refuses more), or slide (each token sees the last
   * `contextLength` tokens; a ring of pages). Default stop.
   */
  overflow?: "stop" | "slide";
  /** Activations are not rounded to int8: to compare with programs that do not. Default false. */
  floatActivations?: boolean;
  /**
   * A sequence that brings more tokens than this at once gets training's attention, which reads prompts faster, and gives the
   * same bits with a cache in f32 or f16: a ternary model's logits are the same however a prompt is cut (with a head in f32,
   * bf16 or f16: if the logits of at most 64 tokens are asked for at once). A cache in int8 or int4 is multiplied out in
   * another order; Number.MAX_SAFE_INTEGER, never, makes it the same too. Default 8.
   */
  gatherAbove?: number;
}

/** New tokens in one recorded program. */
export const programRows = 8;

/** The options with nothing left to choose. */
export type ResolvedOptions = Required<PackedEngineOptions> & { weights: TernaryFormat };

/** Bytes of ternary weights of two bits from which on they come from memory, and not from a third cache (32 MiB on Zen 4). */
const fromMemory = 64 * 2 ** 20;

export function weightsFromMemory(config: ModelConfig): boolean {
  const { width, heads, kvHeads, hiddenWidth, layers } = config;
  const weights = layers * width * (2 * (heads + kvHeads) * headWidth(config) + 3 * hiddenWidth);
  return weights / 4 >= fromMemory;
}

/**
 * Trits are a fifth fewer bytes and twice the instructions. AVX-512 (with VBMI, to look digits up) makes 29 GB/s of them a
 * thread, so two threads read them as fast as memory gives, and one does not (docs/inference.md has both).
 */
export function fastestWeights(backend: Pick<Backend, "isa" | "threads">, config: ModelConfig): TernaryFormat {
  return backend.isa === "avx512" && backend.threads > 1 && weightsFromMemory(config) ? "trits" : "2bit";
}

/** Why the packed engine cannot run a layer of the model, whose kernels must have a C++ side; null if it can run all. */
export function unpackableLayer(config: ModelConfig): string | null {
  const layer = planModel(config).layers.find(({ activations }) => activations && !activations.packed);
  if (!layer) return null;
  const { name, parameters } = layer.activations!;
  return `layer ${layer.name} rounds its input by "${name}", ${parameters ? "whose learned bound this engine does not read" : "which has no C++ side here"}`;
}

/** Whether the packed engine is the faster one for a model: it has ternary weights, and every layer can be run there. */
export const runsPacked = (config: ModelConfig): boolean =>
  planModel(config).anyTernary && unpackableLayer(config) === null;

/** The options with their defaults. @throws UsageError for what does not go together */
export function resolveOptions(
  options: PackedEngineOptions,
  config: ModelConfig,
  source: Pick<WeightSource, "headFormat">,
  backend: Pick<Backend, "isa" | "threads">,
): ResolvedOptions {
  const { weights = "auto" } = options;
  const all: ResolvedOptions = {
    weights: weights === "auto" ? fastestWeights(backend, config) : weights,
    head: options.head ?? source.headFormat ?? "f32",
    linear: options.linear ?? "f32",
    cache: options.cache ?? "f32",
    overflow: options.overflow ?? "stop",
    floatActivations: options.floatActivations ?? false,
    gatherAbove: options.gatherAbove ?? programRows,
  };
  if (!(Number.isInteger(all.gatherAbove) && all.gatherAbove >= 0))
    throw new UsageError(`packed engine: gatherAbove is ${all.gatherAbove}; expected a whole number from 0`);
  const unpackable = unpackableLayer(config);
  if (unpackable) throw new UsageError(`packed engine: ${unpackable}; use the float engine (--engine float)`);
  if (!planModel(config).anyTernary && (weights !== "auto" || options.floatActivations))
    throw new UsageError(
      "packed engine: a full-precision model has no ternary weights and no int8 activations; leave out weights and floatActivations",
    );
  return all;
}
