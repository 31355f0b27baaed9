/** Weights, gradients and settings on which every backend's AdamW step must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const usual = { learningRate: 1.5e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, gradientScale: 1 };

const variants = [
  { name: "one value, first step", n: 1, settings: { ...usual, step: 1 } },
  { name: "a size with a remainder", n: 37, settings: { ...usual, step: 1 } },
  { name: "a clipped gradient, late", n: 1000, settings: { ...usual, step: 4000, gradientScale: 0.01 } },
  { name: "no decay", n: 4099, settings: { ...usual, step: 7, weightDecay: 0 } },
  { name: "betas of zero (signs)", n: 70, settings: { ...usual, step: 3, beta1: 0, beta2: 0 } },
  { name: "cautious decay", n: 1003, settings: { ...usual, step: 5, weightDecay: 10, cautious: true } },
];

export const cases = variants.map((variant, i) => {
  const m = normals(variant.n, 30 + i, 0.01);
  const noise = normals(variant.n, 40 + i, 0.01);
  return {
    ...variant,
    weight: normals(variant.n, 10 + i, 0.05),
    // Gradients from 1 down to 1e-12, where eps decides, and zeros.
    gradient: normals(variant.n, 20 + i).map((x, k) => (k % 11 === 10 ? 0 : x * 10 ** -(k % 13))),
    m,
    // A second moment that this first one can have: |m| is at most about three times its root.
    v: noise.map((x, k) => x * x + (0.3 * m[k]) ** 2),
  };
});
