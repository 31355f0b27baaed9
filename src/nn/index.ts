/** Layers: each with its config, its parameters and their initial values. */
export {
  Attention,
  type AttentionConfig,
  type AttentionContext,
  type LayerCache,
  type Projections,
} from "./attention.ts";
export { type Estimator, estimators } from "./estimators/index.ts";
export { FeedForward, type FeedForwardConfig } from "./feed-forward.ts";
export { type Initial, ParameterFactory } from "./layer.ts";
export {
  applyLinear,
  hasTernaryWeights,
  integerLevels,
  isBitLinear,
  kindOf,
  type LayerQuantization,
  type Learned,
  learnedOf,
  LinearInput,
  type LinearKind,
  LinearLayer,
  type LinearSpec,
  type WeightStandIn,
} from "./linear/index.ts";
export { RmsNorm } from "./norm.ts";
export { RotaryTable } from "./rotary-table.ts";
export {
  type ActivationQuantizer,
  activationQuantizers,
  inputClip,
  type LearnedParameter,
  type MatrixShape,
  type ModelScale,
  type QuantizedWeight,
  type TernaryQuantizer,
  type TernaryWeight,
  type ValueQuantizer,
  type WeightQuantizer,
  type WeightValues,
  weightQuantizers,
} from "./quantizers/index.ts";
