/**
 * Sums and copies of whole arrays, element by element: residual connections, and gradients that meet.
 *
 * The slow, exact definition. kernel.cc must equal it on cases.ts, to the bit.
 */

/** y = a + b, each [n]; y is overwritten. */
export function addForward(a: Float32Array, b: Float32Array, y: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) y[i] = a[i] + b[i];
}

/** into += from, each [n]. */
export function addAccumulate(into: Float32Array, from: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) into[i] += from[i];
}

/** into = from, each [n]. */
export function addCopy(into: Float32Array, from: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) into[i] = from[i];
}
