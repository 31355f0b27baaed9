/** Weights, gradients and settings on which every backend's SGD step must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const usual = { learningRate: 0.1, momentum: 0.9, weightDecay: 0.1, gradientScale: 1 };

const variants = [
  { name: "one value", n: 1, settings: usual, withMomentum: true },
  { name: "a size with a remainder", n: 37, settings: usual, withMomentum: true },
  {
    name: "a clipped gradient, no decay",
    n: 4099,
    settings: { ...usual, weightDecay: 0, gradientScale: 0.3 },
    withMomentum: true,
  },
  { name: "no momentum and no array for it", n: 70, settings: { ...usual, momentum: 0 }, withMomentum: false },
  { name: "cautious decay", n: 1003, settings: { ...usual, weightDecay: 2, cautious: true }, withMomentum: true },
];

export const cases = variants.map((variant, i) => ({
  ...variant,
  weight: normals(variant.n, 10 + i),
  gradient: normals(variant.n, 20 + i),
  momentum: normals(variant.n, 30 + i),
}));
