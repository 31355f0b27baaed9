/** Linear layers: the layer, its kinds, and how layers of one input are applied. */
export { applyLinear, kindOf } from "./apply.ts";
export { type GatedPair, type InputNorm, LinearInput } from "./input.ts";
export type { LinearKind } from "./kind.ts";
export {
  hasTernaryWeights,
  integerLevels,
  isBitLinear,
  type LayerQuantization,
  type Learned,
  learnedOf,
  LinearLayer,
  type LinearSpec,
  type WeightStandIn,
} from "./layer.ts";
