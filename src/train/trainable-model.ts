/**
 * What training needs of a model: the contract alone, no code that runs a step. model/'s Transformer is one; a program of
 * its own may bring another. Named by the trainer, objectives, callbacks and evaluation.
 */
import type { StateTap } from "../model/index.ts";
import type { LayerQuantization } from "../nn/index.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";

/** Token ids on the host, row-major [B, T]. */
export interface ModelBatch {
  readonly tokens: Int32Array;
  readonly batch: number;
  readonly length: number;
  /** [B, T]: the first token of each token's document, so that attention stops there; absent: attention sees all before. */
  readonly documentStart?: Int32Array;
  /** Told of the states of the blocks as they are computed, by models that can tell; a teacher's are compared with them. */
  readonly tap?: StateTap;
}

export interface TrainableModel {
  readonly parameters: readonly Parameter[];
  /** Layers with ternary weights, empty for a full-precision model. */
  readonly ternaryLayers: readonly TernaryLayer[];
  /** Layers that quantize their weights or their input: those that `setQuantization` moves; absent: `ternaryLayers`. */
  readonly quantizedLayers?: readonly { readonly name: string }[];
  /** Progressive quantization: how each layer is quantized; set for a step, and back to null, wholly. */
  setQuantization?(of: ((layer: string) => LayerQuantization) | null): void;
  /** The share of the run that is done, 0 to 1, for estimators that change during it; set for a step, and back to 1. */
  setProgress?(progress: number): void;
  /** Logits [B, T, V] of every token: what objectives start from. */
  logits(batch: ModelBatch): Tensor;
  /** Mean cross-entropy in nats over the targets that are not -100: what validation measures. */
  loss(batch: ModelBatch, targets: Int32Array): { loss: Tensor };
}

export interface TernaryLayer {
  readonly weight: Parameter;
  /** `requantizeEvery`: updates after which the weights are quantized again; absent: 1. */
  readonly spec?: { readonly requantizeEvery: number };
  /** Codes u8 (q + 1) and their scale [1], as they multiply now. */
  quantized(runtime: Runtime): { readonly codes: Tensor; readonly scale: Tensor };
}
