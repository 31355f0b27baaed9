/** What the training loop and its callbacks need of a model. It knows no loop: trainer.ts, events.ts and evaluate.ts take it. */
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";

/** model/'s Transformer is one. */
export interface TrainableModel {
  readonly parameters: readonly Parameter[];
  /** Layers with ternary weights, empty for a full-precision model. */
  readonly ternaryLayers: readonly TernaryLayer[];
  /** Progressive quantization: how far each layer is quantized, from 0 to 1; set for a step, and back to 1. */
  setLambda?(lambda: number | ((layer: string) => number)): void;
  /** Mean cross-entropy in nats over the targets that are not -100. */
  loss(
    batch: { tokens: Int32Array; batch: number; length: number; documentStart?: Int32Array },
    targets: Int32Array,
  ): { loss: Tensor };
}

export interface TernaryLayer {
  readonly weight: Parameter;
  /** Codes u8 (q + 1) and their scale [1], as they multiply now. */
  quantized(runtime: Runtime): { readonly codes: Tensor; readonly scale: Tensor };
}
