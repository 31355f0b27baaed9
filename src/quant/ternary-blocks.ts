/** What the ternary block formats share: how llama.cpp quantises a block to codes, and how codes and scale become floats. */

/**
 * d = max|w| of the block, code = round(w / d) + 1, half away from zero.
 *
 * @returns d
 */
export function quantizeBlock(values: Float32Array, from: number, size: number, codes: Uint8Array): number {
  let d = 0;
  for (let i = 0; i < size; i++) d = Math.max(d, Math.abs(values[from + i]));
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  for (let i = 0; i < size; i++) {
    const x = Math.fround(values[from + i] * inverse);
    codes[i] = x >= 0.5 ? 2 : x <= -0.5 ? 0 : 1;
  }
  return d;
}

/** values = (code - 1) · d, over codes.length elements from `from`. */
export function scaleBlock(codes: Uint8Array, d: number, values: Float32Array, from: number): void {
  for (let i = 0; i < codes.length; i++) values[from + i] = (codes[i] - 1) * d;
}
