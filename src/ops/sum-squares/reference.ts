/**
 * Sum of squares of an array, summed in float64 and rounded once to float32: the squared norm of a gradient.
 * The slow, exact definition; kernel.cc must agree with it on cases.ts.
 *
 * NaN or Inf in x gives NaN or Inf; so does a finite x whose sum of squares is past float32 (|x| above 1.8e19).
 *
 * @param x    [n]
 * @param into [at least slot + 1]; only into[slot] is written
 */
export function sumSquaresReference(x: Float32Array, into: Float32Array, n: number, slot: number): void {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[i] * x[i];
  into[slot] = sum;
}
