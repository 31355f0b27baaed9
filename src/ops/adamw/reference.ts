/**
 * One step of AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101), in place:
 *
 *   g = gradientScale * gradient
 *   m = b1 m + (1 - b1) g          v = b2 v + (1 - b2) g²
 *   w = decay * w - stepSize * m / (sqrt(v) * rootScale + eps)
 *
 * Where `cautious` is 1, a weight that its update moves away from zero does not decay (cautious weight decay, Chen et al.,
 * arXiv:2510.12402): decay is then 1 for those with m w < 0, so that w -= lr weightDecay w 1[m w >= 0].
 *
 * with decay = 1 - lr * weightDecay, stepSize = lr / (1 - b1^t), rootScale = 1 / sqrt(1 - b2^t): what torch.optim.AdamW
 * computes. The slow, exact definition, in float64 between float32 arrays; kernel.cc must agree with it on cases.ts.
 */

export interface AdamwScalars {
  n: number;
  /** 1 - learningRate * weightDecay */
  decay: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** learningRate / (1 - beta1^step) */
  stepSize: number;
  /** 1 / sqrt(1 - beta2^step) */
  rootScale: number;
  gradientScale: number;
  /** 0 or 1. */
  cautious: number;
}

/** Whether w - update is further from zero than w: by signs, since the product of two small numbers is zero. */
export const movesAway = (update: number, w: number): boolean => (update > 0 && w < 0) || (update < 0 && w > 0);

/**
 * @param weight   [n], changed
 * @param gradient [n]
 * @param m        [n], changed; zero before the first step
 * @param v        [n], changed; zero before the first step
 */
export function adamwReference(
  weight: Float32Array,
  gradient: Float32Array,
  m: Float32Array,
  v: Float32Array,
  { n, decay, beta1, beta2, eps, stepSize, rootScale, gradientScale, cautious }: AdamwScalars,
): void {
  for (let i = 0; i < n; i++) {
    const g = gradient[i] * gradientScale;
    m[i] = beta1 * m[i] + (1 - beta1) * g;
    v[i] = beta2 * v[i] + (1 - beta2) * g * g;
    const kept = cautious && movesAway(m[i], weight[i]) ? 1 : decay;
    weight[i] = kept * weight[i] - (stepSize * m[i]) / (Math.sqrt(v[i]) * rootScale + eps);
  }
}
