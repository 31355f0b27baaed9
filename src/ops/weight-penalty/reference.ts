/**
 * Penalties on a weight matrix w [size], with codes q and one scale s, both constants; each is a sum over the weights:
 *
 *   dampening   sum (clip(w, -s, s) - s · q)²       Nagel et al., arXiv:2203.11086; gradient 2 (w - s · q) where |w| <= s
 *   proximal    1/2 · sum (w - s · q)²              a pull to the grid (ProxQuant, arXiv:1810.00861; WinQ); gradient w - s · q
 *   range       sum max(|w| - limit · s, 0)²        weights far outside the grid; gradient 2 sign(w) max(|w| - limit · s, 0)
 *   l1          sum |w|                             gradient sign(w), 0 at 0
 *
 * and one on its distribution:
 *
 *   kurtosis    (K - target)², K = mean(z⁴), z = (w - mean(w)) / σ, σ² = mean((w - mean(w))²)     KURE, arXiv:2002.07686
 *               gradient 2 (K - target) · 4 / (size · σ) · (z³ - mean(z³) - K z);  NaN where all weights are equal
 *
 * The slow definition: differences are float32, sums float64. kernel.cc must agree with it on cases.ts.
 */

export const penaltyKinds = ["dampening", "proximal", "range", "l1"] as const;
export type PenaltyKind = (typeof penaltyKinds)[number];

const f = Math.fround;

/** What is squared (l1: taken as it is), in float32, with the sign of its gradient; 0 where there is none. */
function excess(kind: number, w: number, q: number, s: number, limit: number): number {
  switch (penaltyKinds[kind]) {
    case "dampening":
      return f(Math.max(-s, Math.min(s, w)) - s * q);
    case "proximal":
      return f(w - s * q);
    case "range": {
      const over = f(Math.abs(w) - f(f(limit) * s));
      // Not the comparison the other way: a NaN stays one.
      return over <= 0 ? 0 : w < 0 ? -over : over;
    }
    default:
      return w;
  }
}

export function penaltyForward(
  { w, codes, scale, loss }: { w: Float32Array; codes: Uint8Array; scale: Float32Array; loss: Float32Array },
  { size, kind, limit }: { size: number; kind: number; limit: number },
): void {
  let sum = 0;
  const linear = penaltyKinds[kind] === "l1";
  for (let i = 0; i < size; i++) {
    const e = excess(kind, w[i], codes[i] - 1, scale[0], limit);
    sum += linear ? Math.abs(e) : e * e;
  }
  loss[0] = penaltyKinds[kind] === "proximal" ? sum / 2 : sum;
}

/** dloss [1]; dw is overwritten, or added to if accumulate. */
export function penaltyBackward(
  a: { w: Float32Array; codes: Uint8Array; scale: Float32Array; dloss: Float32Array; dw: Float32Array },
  { size, kind, limit, accumulate }: { size: number; kind: number; limit: number; accumulate: number },
): void {
  const { w, codes, scale, dw } = a;
  const name = penaltyKinds[kind];
  const factor = name === "dampening" || name === "range" ? f(2 * a.dloss[0]) : a.dloss[0];
  for (let i = 0; i < size; i++) {
    const e = excess(kind, w[i], codes[i] - 1, scale[0], limit);
    // Clipped weights do not move the clipped value.
    const inside = name !== "dampening" || Math.abs(w[i]) <= scale[0] ? e : 0;
    const value = f(factor * (name === "l1" ? Math.sign(inside) : inside));
    dw[i] = accumulate ? dw[i] + value : value;
  }
}

/** stats [4]: mean, 1 / σ, K and mean(z³), which backward wants. */
export function kurtosisForward(
  { w, stats, loss }: { w: Float32Array; stats: Float32Array; loss: Float32Array },
  { size, target }: { size: number; target: number },
): void {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += w[i];
  const mean = sum / size;
  let [m2, m3, m4] = [0, 0, 0];
  for (let i = 0; i < size; i++) {
    const d = w[i] - mean;
    m2 += d ** 2 / size;
    m3 += d ** 3 / size;
    m4 += d ** 4 / size;
  }
  const kurtosis = m4 / m2 ** 2;
  stats.set([mean, 1 / Math.sqrt(m2), kurtosis, m3 / m2 ** 1.5]);
  loss[0] = (kurtosis - target) ** 2;
}

export function kurtosisBackward(
  { w, stats, dloss, dw }: { w: Float32Array; stats: Float32Array; dloss: Float32Array; dw: Float32Array },
  { size, target, accumulate }: { size: number; target: number; accumulate: number },
): void {
  const [mean, inverse, kurtosis, cubes] = stats;
  const factor = (2 * (kurtosis - target) * 4 * inverse * dloss[0]) / size;
  for (let i = 0; i < size; i++) {
    const z = (w[i] - mean) * inverse;
    const value = factor * (z ** 3 - cubes - kurtosis * z);
    dw[i] = accumulate ? dw[i] + f(value) : value;
  }
}
