/**
 * Backward rules of ternary weights that scale the gradient weight by weight: dw = dy · f, with dy the gradient at the
 * quantized weights s · q, s the matrix's scale, u = w / s the weight in units of the scale, and f one of
 *
 *   trust   1 where |w - s · q| <= trust · s, else 0
 *   soft    k t / 2 · (sech²(t (u - b)) + sech²(t (u + b)))      the slope of k / 2 · (tanh(t (u - b)) + tanh(t (u + b)))
 *   ewgs    1 + delta · sign(dy) · (u - q)
 *   reste   1/o · |v|^(1/o - 1), v = (|u| - b) / (1 - b); m^(1/o - 1) where |v| <= m; 0 where |v| > limit
 *
 * b is where the grid's steps are: 1/2 for rounding. The sources of soft and reste are of binary weights, whose one step is
 * at 0: that is b = 0. The annealed numbers t, k and o are functions of the share of the run that is done, below.
 *
 * The slow definition, in float64, rounded once; the mask of trust is decided in float32, and kernel.cc must equal it, to
 * the bit. For the others the bounds are in the test.
 */

/** Of every rule: w, dy, dw [size], codes (q + 1) [size], scale [1]; dw is overwritten, or added to if accumulate. */
export interface EstimatorArrays {
  w: Float32Array;
  codes: Uint8Array;
  scale: Float32Array;
  dy: Float32Array;
  dw: Float32Array;
}

interface Sizes {
  size: number;
  accumulate: number;
}

/** IR-Net's schedule: t rises from `from` to `to` geometrically, and k = max(1 / t, 1) keeps the slope at 1 or above. */
export function softSlope({ from, to, progress }: { from: number; to: number; progress: number }) {
  const t = from * (to / from) ** progress;
  return { t, k: Math.max(1 / t, 1) };
}

/** ReSTE's schedule: o rises from 1, the straight-through estimator, to `to`. */
export const resteOrder = ({ to, progress }: { to: number; progress: number }): number => 1 + (to - 1) * progress;

function estimate(
  { w, codes, scale, dy, dw }: EstimatorArrays,
  { size, accumulate }: Sizes,
  factor: (u: number, q: number, dy: number, w: number) => number,
): void {
  for (let i = 0; i < size; i++) {
    const f = factor(w[i] / scale[0], codes[i] - 1, dy[i], w[i]);
    // A mask: what is cut off is 0, whatever dy is.
    const value = f === 0 ? 0 : dy[i] * f;
    dw[i] = accumulate ? dw[i] + Math.fround(value) : value;
  }
}

export function trustBackward(arrays: EstimatorArrays, p: Sizes & { trust: number }): void {
  const [s] = arrays.scale;
  const bound = Math.fround(Math.fround(p.trust) * s);
  estimate(arrays, p, (_u, q, _dy, w) => (Math.abs(Math.fround(w - s * q)) <= bound ? 1 : 0));
}

/** 1 - tanh²(x), without its cancellation. */
function sech2(x: number): number {
  const e = Math.exp(-2 * Math.abs(x));
  return (4 * e) / (1 + e) ** 2;
}

export function softBackward(arrays: EstimatorArrays, p: Sizes & { t: number; k: number; threshold: number }): void {
  const { t, k, threshold: b } = p;
  estimate(arrays, p, (u) => ((k * t) / 2) * (sech2(t * (u - b)) + sech2(t * (u + b))));
}

export function ewgsBackward(arrays: EstimatorArrays, p: Sizes & { delta: number }): void {
  estimate(arrays, p, (u, q, dy) => 1 + p.delta * Math.sign(dy) * (u - q));
}

export function resteBackward(
  arrays: EstimatorArrays,
  p: Sizes & { order: number; limit: number; center: number; threshold: number },
): void {
  const { order: o, limit, center: m, threshold: b } = p;
  estimate(arrays, p, (u) => {
    const v = Math.abs((Math.abs(u) - b) / (1 - b));
    if (!(v <= limit)) return 0;
    return v <= m ? m ** (1 / o - 1) : v ** (1 / o - 1) / o;
  });
}
