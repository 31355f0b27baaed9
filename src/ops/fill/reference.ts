/** Fill: array = value everywhere. The definition; kernel.cc must equal it. */

/** @param array [n], overwritten */
export function fillReference(array: Float32Array, n: number, value: number): void {
  for (let i = 0; i < n; i++) array[i] = value;
}
