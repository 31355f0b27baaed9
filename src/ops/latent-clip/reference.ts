/**
 * Latent weights held within a multiple of their mean magnitude, in place:
 *
 *   s = mean|w|        w = min(max(w, -limit s), limit s)
 *
 * A ternary code depends on w / s alone, and is ±1 from s / 2 on: a latent weight far beyond cannot flip within the run. s is
 * absmean's scale, taken before the clip (ops/weight-quant). The slow definition: kernel.cc must agree with it on cases.ts.
 *
 * @param w [n], changed; NaN stays NaN, and so do all weights where the mean is NaN
 */
export function latentClipReference(w: Float32Array, n: number, limit: number): void {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += Math.abs(w[i]);
  const bound = Math.fround(Math.fround(sum / n) * Math.fround(limit));
  for (let i = 0; i < n; i++) {
    if (w[i] > bound) w[i] = bound;
    else if (w[i] < -bound) w[i] = -bound;
  }
}
