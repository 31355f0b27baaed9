/** Sizes and settings on which every backend's elementwise Muon kernels must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

const variants = [
  { name: "one value", rows: 1, columns: 1 },
  { name: "a wide matrix, Nesterov", rows: 5, columns: 37, nesterov: true },
  { name: "a tall matrix, clipped", rows: 67, columns: 9, gradientScale: 0.01 },
  { name: "a square, cautious", rows: 48, columns: 48, nesterov: true, cautious: true },
  { name: "gradients of zeros", rows: 4, columns: 6, gradientScale: 0, mu: 0 },
];

export const cases = variants.map((variant, i) => {
  const n = variant.rows * variant.columns;
  return {
    nesterov: false,
    cautious: false,
    gradientScale: 1,
    mu: 0.95,
    ...variant,
    weight: normals(n, 10 + i, 0.05),
    gradient: normals(n, 20 + i),
    momentum: normals(n, 30 + i, variant.mu === 0 ? 0 : 1),
  };
});
