/**
 * The elementwise parts of a Muon step (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024); the
 * matrix products between them are ops/matmul's (index.ts puts them together). The slow, exact definitions, in float64
 * between float32 arrays: kernel.cc must agree with them on cases.ts.
 */
import { movesAway } from "../adamw/reference.ts";

/** A norm below this counts as this: a gradient of zeros gives an update of zeros. As torch.optim.Muon's `eps`. */
export const smallestNorm = 1e-7;

/**
 * g = gradientScale · gradient;  M = mu M + g;  N = g + mu M (Nesterov) or M;  X = N / max(|N|, 1e-7), |N| being the root of
 * the sum of squares (Frobenius), so that no singular value of X is over 1.
 *
 * @param gradient [n]
 * @param momentum [n], M, changed; zero before the first step
 * @param x        [n], overwritten
 */
export function muonMomentumReference(
  gradient: Float32Array,
  momentum: Float32Array,
  x: Float32Array,
  p: { n: number; mu: number; nesterov: number; gradientScale: number },
): void {
  const direction = new Float64Array(p.n);
  let sum = 0;
  for (let i = 0; i < p.n; i++) {
    const g = gradient[i] * p.gradientScale;
    momentum[i] = p.mu * momentum[i] + g;
    direction[i] = p.nesterov ? g + p.mu * momentum[i] : momentum[i];
    sum += direction[i] * direction[i];
  }
  const norm = Math.max(Math.sqrt(sum), smallestNorm);
  for (let i = 0; i < p.n; i++) x[i] = direction[i] / norm;
}

/**
 * square = a I + b gram + c square: from A and A², the matrix by which X is multiplied in one Newton-Schulz iteration.
 *
 * @param gram   [n, n], A
 * @param square [n, n], A²; overwritten with the polynomial
 */
export function muonPolynomialReference(
  gram: Float32Array,
  square: Float32Array,
  p: { n: number; a: number; b: number; c: number },
): void {
  for (let i = 0; i < p.n; i++)
    for (let j = 0; j < p.n; j++) {
      const at = i * p.n + j;
      square[at] = (i === j ? p.a : 0) + p.b * gram[at] + p.c * square[at];
    }
}

/**
 * w = decay · w - rate · update, where `cautious` is 1 with decay 1 for a weight that its update moves away from zero
 * (../adamw/reference.ts).
 *
 * @param weight [n], changed
 * @param update [n]
 */
export function muonStepReference(
  weight: Float32Array,
  update: Float32Array,
  p: { n: number; decay: number; rate: number; cautious: number },
): void {
  for (let i = 0; i < p.n; i++) {
    const decay = p.cautious && movesAway(update[i], weight[i]) ? 1 : p.decay;
    weight[i] = decay * weight[i] - p.rate * update[i];
  }
}
