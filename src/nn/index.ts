/** Layers: each with its config, its parameters and their initial values. */
export { Attention, type AttentionConfig, type AttentionContext, type LayerCache } from "./attention.ts";
export { FeedForward, type FeedForwardConfig } from "./feed-forward.ts";
export { type Initial, ParameterFactory } from "./layer.ts";
export {
  applyLinear,
  type LinearConfig,
  linearInput,
  LinearLayer,
  type QuantizedInput,
  type QuantizedWeight,
  type QuantRamp,
} from "./linear.ts";
export { RmsNorm } from "./norm.ts";
