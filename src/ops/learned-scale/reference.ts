/**
 * Ternary weights by a learned scale a, one for the matrix, and its gradient. With r = w / a, a never taken below leastScale:
 *
 *   q = clip(round(r · levels), -1, 1)    s = a / levels    Q(w) = s · q
 *
 *   dw = g inside the range |r| <= range, else 0
 *   da = gradientScale · sum g · c,    c = q / levels - slope · r inside the range, sign(r) outside
 *
 *   learned  levels 1    range infinite  slope 0    c = q: as the levels of TTQ are learned (arXiv:1612.01064), threshold a / 2
 *   LSQ      levels 1    range 1         slope 1    arXiv:1902.08153, with Qn = Qp = 1
 *   SEQ      levels 1.5  range 0.99      slope 1    ParetoQ's ternary (arXiv:2502.02631): levels 0 and 2a / 3, threshold a / 3
 *
 * Below lambda 1 a layer multiplies w + lambda · (Q(w) - w): da is lambda times that, and dw is g outside the range (1 - lambda)
 * times. Each step is float32; da is summed in float64. The slow definition: kernel.cc must agree with it.
 */

/** No product is 0 or changes its sign because a scale that is learned came to 0; and every file format holds it. */
export const leastScale = 2 ** -15;

export interface ScaleRule {
  levels: number;
  /** Infinity: none. */
  range: number;
  slope: number;
}

const f = Math.fround;

export function quantizeByScale(
  w: Float32Array,
  a: Float32Array,
  codes: Uint8Array,
  scale: Float32Array,
  levels: number,
): void {
  const own = Math.max(a[0], leastScale); // keeps NaN
  for (let i = 0; i < w.length; i++) codes[i] = 1 + levelOf(f(w[i] / own), levels);
  scale[0] = f(f(1 / levels) * own);
}

/** q of r = w / a: half to even, so that 0.5 is 0. */
const levelOf = (r: number, levels: number): number => {
  const t = f(r * f(levels));
  return t > 0.5 ? 1 : t < -0.5 ? -1 : 0;
};

/** w, g, dw [size], a [1]; dw is overwritten, or added to if accumulate. */
export function weightGradient(
  w: Float32Array,
  a: Float32Array,
  g: Float32Array,
  dw: Float32Array,
  { size, range, lambda, accumulate }: { size: number; range: number; lambda: number; accumulate: number },
): void {
  const own = Math.max(a[0], leastScale);
  const outside = f(1 - lambda);
  for (let i = 0; i < size; i++) {
    // A NaN is not within any range.
    const value = Math.abs(f(w[i] / own)) <= f(range) ? g[i] : f(g[i] * outside);
    dw[i] = accumulate ? dw[i] + value : value;
  }
}

/** w, g [size], a and da [1]; da is overwritten, or added to if accumulate. `factor` is gradientScale · lambda. */
export function scaleGradient(
  w: Float32Array,
  a: Float32Array,
  g: Float32Array,
  da: Float32Array,
  { size, factor, accumulate, ...rule }: ScaleRule & { size: number; factor: number; accumulate: number },
): void {
  const own = Math.max(a[0], leastScale);
  const unit = f(1 / rule.levels);
  let sum = 0;
  for (let i = 0; i < size; i++) {
    const r = f(w[i] / own);
    const level = f(levelOf(r, rule.levels) * unit);
    const inside = f(level - f(f(rule.slope) * r));
    const c = Math.abs(r) > f(rule.range) ? Math.sign(r) : inside;
    sum += f(g[i] * c);
  }
  const value = f(sum * factor);
  da[0] = accumulate ? da[0] + value : value;
}
