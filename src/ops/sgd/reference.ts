import { movesAway } from "../adamw/reference.ts";

/**
 * One step of SGD with momentum, in place:
 *
 *   buffer = momentum * buffer + gradientScale * gradient
 *   w = decay * w - learningRate * buffer,   decay = 1 - learningRate * weightDecay
 *
 * Where `cautious` is 1, decay is 1 for a weight that its buffer moves away from zero (see ../adamw/reference.ts).
 *
 * This is torch.optim.SGD without dampening or Nesterov, save for the weight decay: there it is added to the gradient
 * (and so enters the momentum), here it is decoupled as in AdamW (SGDW of arXiv:1711.05101), so that both optimisers
 * mean the same by the same number. The slow, exact definition; kernel.cc must agree with it on cases.ts.
 *
 * @param weight   [n], changed
 * @param gradient [n]
 * @param buffer   [n], changed; null (which a momentum of 0 allows) leaves buffer = gradientScale * gradient
 */
export function sgdReference(
  weight: Float32Array,
  gradient: Float32Array,
  buffer: Float32Array | null,
  p: { n: number; decay: number; learningRate: number; momentum: number; gradientScale: number; cautious: number },
): void {
  for (let i = 0; i < p.n; i++) {
    let change = gradient[i] * p.gradientScale;
    if (buffer) {
      buffer[i] = p.momentum * buffer[i] + change;
      change = buffer[i];
    }
    const decay = p.cautious && movesAway(change, weight[i]) ? 1 : p.decay;
    weight[i] = decay * weight[i] - p.learningRate * change;
  }
}
