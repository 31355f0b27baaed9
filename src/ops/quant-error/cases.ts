/** Matrices on which every backend's sums must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";

const sizes: [name: string, n: number, scale: number][] = [
  ["one weight", 1, 0.02],
  ["a size with a remainder", 37, 0.016],
  ["exactly 64 weights", 64, 1],
  ["several threads' parts", 4099, 0.04],
  ["more vectors than a block counts", 3 * 16 * 1024 + 9, 0.5],
];

export const cases = sizes.map(([name, n, scale], i) => {
  const w = normals(n, 10 + i, scale * 1.2533);
  const codes = Uint8Array.from(w, (x) => 1 + Math.max(-1, Math.min(1, Math.round(x / scale))));
  const [a, b] = [20, 30].map((seed) => integers(n, seed + i, 3));
  const previous = codes.map((code, k) => (a[k] === 0 ? b[k] : code));
  const before = codes.map((_, k) => (a[k] + b[k]) % 3);
  return { name, n, w, codes, scale: Float32Array.of(scale), previous, before, kept: w.map((x, k) => x + 0.01 * a[k]) };
});
