/**
 * Quantisation let in by degrees, for a full-precision model on its way to a ternary one ("Fine-tuning LLMs to 1.58bit",
 * Hugging Face 2024, "Warmup Quantization"):
 *
 *   y = x + lambda · (code · scale - x)         lambda 0: x itself; 1: exactly what the code stands for
 *
 * The slow, exact definition: each of the three operations rounds to float32 once, and at lambda 1 only the product is
 * made. kernel.cc must equal it, to the bit.
 */

const f = Math.fround;
const ramped = (x: number, quantized: number, lambda: number) =>
  lambda === 1 ? quantized : x + f(f(lambda) * f(quantized - x));

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
      y[i] = ramped(x[i], f(codes[i] * scale[m]), lambda);
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
  for (let i = 0; i < size; i++) y[i] = ramped(w[i], f((codes[i] - 1) * scale[0]), lambda);
}

/** Weights of any grid: w and its quantized values [size]; y [size] is overwritten. */
export function rampValues(
  w: Float32Array,
  values: Float32Array,
  y: Float32Array,
  { size, lambda }: { size: number; lambda: number },
): void {
  for (let i = 0; i < size; i++) y[i] = ramped(w[i], values[i], lambda);
}
