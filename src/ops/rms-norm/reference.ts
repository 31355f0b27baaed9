/**
 * RMSNorm: y = gain * x / sqrt(mean(x²) + eps), over the last axis (Zhang & Sennrich, arXiv:1910.07467).
 *
 * The slow, exact definition, forward and backward. kernel.cc must agree with it on cases.ts.
 */

/**
 * @param x       [M, C]
 * @param gain    [C]
 * @param y       [M, C], overwritten
 * @param inverse [M], overwritten with 1 / sqrt(mean(x²) + eps): backward wants it
 */
export function rmsNormForward(
  x: Float32Array,
  gain: Float32Array,
  y: Float32Array,
  inverse: Float32Array,
  rows: number,
  width: number,
  eps: number,
): void {
  for (let m = 0; m < rows; m++) {
    let sum = 0;
    for (let c = 0; c < width; c++) sum += x[m * width + c] ** 2;
    const r = 1 / Math.sqrt(sum / width + eps);
    inverse[m] = r;
    for (let c = 0; c < width; c++) y[m * width + c] = gain[c] * (x[m * width + c] * r);
  }
}

/**
 * With n = x · inverse and g = gain * dy:  dx = inverse * (g - n * mean(g * n)).
 *
 * @param dx [M, C], overwritten, or added to when accumulate is 1
 */
export function rmsNormBackwardInput(
  x: Float32Array,
  gain: Float32Array,
  inverse: Float32Array,
  dy: Float32Array,
  dx: Float32Array,
  rows: number,
  width: number,
  accumulate: number,
): void {
  for (let m = 0; m < rows; m++) {
    const r = inverse[m];
    let dot = 0;
    for (let c = 0; c < width; c++) dot += gain[c] * dy[m * width + c] * x[m * width + c] * r;
    for (let c = 0; c < width; c++) {
      const i = m * width + c;
      const d = r * (gain[c] * dy[i] - x[i] * r * (dot / width));
      dx[i] = accumulate ? dx[i] + d : d;
    }
  }
}

/** dgain = sum over rows of dy * x * inverse. */
export function rmsNormBackwardGain(
  x: Float32Array,
  inverse: Float32Array,
  dy: Float32Array,
  dgain: Float32Array,
  rows: number,
  width: number,
  accumulate: number,
): void {
  for (let c = 0; c < width; c++) {
    let sum = 0;
    for (let m = 0; m < rows; m++) sum += dy[m * width + c] * x[m * width + c] * inverse[m];
    dgain[c] = accumulate ? dgain[c] + sum : sum;
  }
}
