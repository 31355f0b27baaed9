/**
 * Quantisation let in by degrees, for a full-precision model on its way to a ternary one ("Fine-tuning LLMs to 1.58bit",
 * Hugging Face 2024, "Warmup Quantization"):
 *
 *   y = x + lambda · (code · scale - x)         lambda 0: x itself; 1: what the code stands for, to float32's rounding
 *
 * The slow, exact definition: each of the three operations rounds to float32 once. kernel.cc must equal it, to the bit.
 */

const f = Math.fround;

/** Activations: x [M, K], codes [M, K] and scale [M] of ops/activation-quant; y [M, K] is overwritten. */
export function rampActivations(
  x: Float32Array,
  codes: Int8Array,
  scale: Float32Array,
  y: Float32Array,
  { rows, width, lambda }: { rows: number; width: number; lambda: number },
): void {
  for (let m = 0; m < rows; m++)
    for (let k = 0; k < width; k++) {
      const i = m * width + k;
      y[i] = x[i] + f(f(lambda) * f(f(codes[i] * scale[m]) - x[i]));
    }
}

/** Weights: w [size], codes (q + 1) [size] and scale [1] of ops/weight-quant; y [size] is overwritten. */
export function rampWeights(
  w: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  y: Float32Array,
  { size, lambda }: { size: number; lambda: number },
): void {
  for (let i = 0; i < size; i++) y[i] = w[i] + f(f(lambda) * f(f((codes[i] - 1) * scale[0]) - w[i]));
}
