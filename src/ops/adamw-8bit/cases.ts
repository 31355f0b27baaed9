/** Weights, gradients, codes, scales and settings on which every backend's step must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";
import { blocksOf } from "./index.ts";

const usual = { learningRate: 1.5e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, gradientScale: 1 };

const variants = [
  { name: "one value, first step", n: 1, settings: { ...usual, step: 1 }, scale: 0 },
  { name: "less than a block", n: 37, settings: { ...usual, step: 2 }, scale: 0.3 },
  { name: "a whole block", n: 256, settings: { ...usual, step: 9 }, scale: 0.01 },
  { name: "one more than a block", n: 257, settings: { ...usual, step: 5, weightDecay: 0 }, scale: 0.02 },
  { name: "a clipped gradient, late", n: 4099, settings: { ...usual, step: 4000, gradientScale: 0.01 }, scale: 0.1 },
  { name: "blocks of zeros between others", n: 1100, settings: { ...usual, step: 3 }, scale: 1, emptyBlocks: true },
  { name: "scales too small for float32's inverse", n: 300, settings: { ...usual, step: 3 }, scale: 1e-39 },
  { name: "cautious decay", n: 700, settings: { ...usual, step: 5, weightDecay: 10, cautious: true }, scale: 0.05 },
];

export const cases = variants.map((variant, i) => {
  const { n, scale, emptyBlocks = false } = variant;
  const blocks = blocksOf(n);
  const empty = (k: number) => emptyBlocks && (k >> 8) % 2 === 1;
  const tiny = scale < 1e-38 ? 1e-22 : 1;
  return {
    ...variant,
    weight: normals(n, 10 + i, 0.05),
    // Gradients from 1 down to 1e-6 of the largest, and zeros.
    gradient: normals(n, 20 + i).map((x, k) => (empty(k) || k % 11 === 10 ? 0 : tiny * scale * x * 10 ** -(k % 7))),
    m: Uint8Array.from(integers(n, 30 + i, 256)),
    v: Uint8Array.from(integers(n, 40 + i, 255), (code) => code + 1),
    mScale: new Float32Array(blocks).map((_, b) => (empty(b << 8) ? 0 : scale * (1 + b / 7))),
    // A second moment that this first one can have: not far under its square.
    vScale: new Float32Array(blocks).map((_, b) => (empty(b << 8) ? 0 : scale * scale * (1 + b / 5))),
  };
});
