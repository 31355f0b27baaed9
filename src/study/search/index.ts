/** Search: spaces, samplers and successive halving, as functions that a program calls; no folder and no training. */
export { createHalving, firstRung, type Halving } from "./halving.ts";
export {
  type Dimension,
  gridPoints,
  parseDimension,
  randomPoint,
  type SearchPoint,
  type SearchSpace,
  type SearchValue,
} from "./space.ts";
export { type SearchTrial, tpePoint } from "./tpe.ts";
