/**
 * A soft form of ternary weights (Hestia, arXiv:2601.20745): the mean level of a Gibbs distribution over -1, 0 and 1,
 *
 *   u = w / s    p_c = exp(-(u - c)² / tau) / sum of them    Q(w) = s · (p_1 - p_-1)    y = w + lambda · (Q(w) - w)
 *
 * tau -> 0: Q is the ternary quantizer clip(round(u), -1, 1) · s; tau large: almost linear in w. Its gradient is exact, with
 * V the variance of c under p:
 *
 *   dQ/dw = 2 V / tau    dQ/ds = p_1 - p_-1 - u · 2 V / tau
 *   dw = dy · (1 + lambda · (dQ/dw - 1)), and where s is the mean of |w|: + lambda · sign(w) / size · sum of dy · dQ/ds
 *
 * With v = |u| the exponents over tau are 2 v - 1, 0 and -(2 v + 1), less the largest. The slow definition: u and the exponents
 * are rounded to float32, the rest is float64. kernel.cc computes in float32 and must agree with it within the test's bound.
 */

const f = Math.fround;

interface Sizes {
  size: number;
  temperature: number;
  lambda: number;
}

/** p_1 - p_-1 of |u|, with u's sign, and dQ/dw. */
function softLevel(w: number, s: number, inverse: number): { level: number; slope: number } {
  const u = f(w / s);
  const v = Math.abs(u);
  const outer = f(f(f(2 * v) - 1) * inverse);
  const opposite = f(f(-(f(2 * v) + 1)) * inverse);
  const top = Math.max(outer, 0);
  const [plus, zero, minus] = [Math.exp(f(outer - top)), Math.exp(-top), Math.exp(f(opposite - top))];
  const all = plus + zero + minus;
  const [p, o, m] = [plus / all, zero / all, minus / all];
  // The variance without cancellation: (p + m) - (p - m)² = (p + m) · o + 4 p m.
  const slope = 2 * inverse * ((p + m) * o + 4 * p * m);
  return { level: u < 0 ? m - p : p - m, slope };
}

/** w [size], scale [1]; y [size] is overwritten. */
export function softTernaryForward(
  w: Float32Array,
  scale: Float32Array,
  y: Float32Array,
  { size, temperature, lambda }: Sizes,
): void {
  const inverse = f(1 / f(temperature));
  for (let i = 0; i < size; i++) {
    const { level } = softLevel(w[i], scale[0], inverse);
    const soft = f(scale[0] * level);
    y[i] = lambda === 1 ? soft : w[i] + f(f(lambda) * f(soft - w[i]));
  }
}

/** dy, dw [size]; dw is overwritten, or added to if accumulate. */
export function softTernaryBackward(
  w: Float32Array,
  scale: Float32Array,
  dy: Float32Array,
  dw: Float32Array,
  { size, temperature, lambda, throughScale, accumulate }: Sizes & { throughScale: number; accumulate: number },
): void {
  const inverse = f(1 / f(temperature));
  let ofScale = 0;
  if (throughScale)
    for (let i = 0; i < size; i++) {
      const { level, slope } = softLevel(w[i], scale[0], inverse);
      ofScale += dy[i] * (level - (w[i] / scale[0]) * slope);
    }
  const share = (lambda * ofScale) / size;
  for (let i = 0; i < size; i++) {
    const { slope } = softLevel(w[i], scale[0], inverse);
    const value = dy[i] * (1 - lambda + lambda * slope) + share * Math.sign(w[i]);
    dw[i] = accumulate ? dw[i] + value : value;
  }
}
