/** Seeded numbers for cases: the same on every machine. */
import { createRandom } from "../../src/platform/random.ts";

/** n float32 values of N(0, scale²). */
export function normals(n: number, seed: number, scale = 1): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: n }, () => random.normal() * scale);
}

/** n integers in [0, limit). */
export function integers(n: number, seed: number, limit: number): Int32Array {
  const random = createRandom(seed);
  return Int32Array.from({ length: n }, () => random.integer(limit));
}
