/** Weights, codes and state on which every backend must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";
import { flagBits } from "./reference.ts";

const variants = [
  { name: "one weight", n: 1, threshold: 0.02 },
  { name: "a size with a remainder", n: 37, threshold: 0.1 },
  { name: "several threads' parts", n: 4099, threshold: 0.1 },
  { name: "a threshold of 0: whatever has oscillated", n: 1000, threshold: 0 },
  { name: "a threshold that nothing reaches", n: 300, threshold: Number.POSITIVE_INFINITY },
];

export const cases = variants.map((variant, i) => {
  const { n } = variant;
  const codes = Uint8Array.from(integers(n, 10 + i, 3));
  const [before, directions, fixed, fixedCodes] = [20, 30, 40, 50].map((seed) => integers(n, seed + i, 3));
  const flags = codes.map(
    (code, k) =>
      (before[k] === 0 ? code : before[k]) |
      (directions[k] << flagBits.direction) |
      (fixed[k] === 0 ? (1 << flagBits.fixed) | (fixedCodes[k] << flagBits.fixedCode) : 0),
  );
  return {
    ...variant,
    momentum: 0.01,
    weight: normals(n, 60 + i, 0.05),
    codes,
    scale: Float32Array.of(0.037),
    flags,
    // Away from the thresholds and from ±0.5, where a last bit would decide.
    frequency: normals(n, 70 + i).map((x) => 0.004 + Math.abs(Math.round(x * 8)) * 0.02),
    mean: normals(n, 80 + i).map((x) => Math.max(-1, Math.min(1, Math.round(x * 4) / 4 + 0.07))),
  };
});
