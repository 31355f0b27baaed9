/**
 * Where a fixed int8 scale clips: a threshold t of |x|, from a histogram of 2048 equal bins, s = t / 127. Pure.
 *
 *   min-max     the largest |x|
 *   percentile  that 99.99 % of the sizes do not pass
 *   mse         the t = i · w, i = 128 ... 2048, with the least sum over bins of count · (x - Q(x))², x being the bin's middle
 *   entropy     TensorRT's (Migacz, "8-bit Inference with TensorRT", GTC 2017): of the first i bins, i = 128 ... 2048, P is the
 *               counts, with what lies beyond added to the last bin; Q is the counts merged to 128 levels, each level's sum
 *               spread evenly over those of its bins that are not empty; the i with the least KL(P || Q), t = (i + 1/2) · w
 *               (at i = 2048 the largest |x|). A level takes the bins b with floor(b · 128 / i) of its number.
 */
import { type EqualHistogram, equalBins } from "./histogram.ts";

export const staticMethods = ["min-max", "percentile", "mse", "entropy"] as const;
export type StaticMethod = (typeof staticMethods)[number];

/** Levels of int8 on one side of 0. */
const levels = 128;
const mostCode = 127;
export const clippedPercentile = 99.99;

/** @param percentile the 99.99th of |x| */
export function thresholdOf(method: StaticMethod, histogram: EqualHistogram, percentile: number): number {
  switch (method) {
    case "min-max":
      return histogram.absmax;
    case "percentile":
      return percentile;
    case "mse":
      return mseThreshold(histogram);
    case "entropy":
      return entropyThreshold(histogram);
  }
}

/** The fixed scale; inputs that are 0 throughout get one all the same. */
export const scaleOfThreshold = (threshold: number): number => Math.max(threshold, 1e-5) / mostCode;

export function mseThreshold({ counts, binWidth, absmax }: EqualHistogram): number {
  let best = absmax;
  let least = Number.POSITIVE_INFINITY;
  for (let i = levels; i <= equalBins; i++) {
    const scale = (i * binWidth) / mostCode;
    let error = 0;
    for (let b = 0; b < equalBins && error < least; b++) {
      if (counts[b] === 0) continue;
      const x = (b + 0.5) * binWidth;
      const level = Math.min(mostCode, Math.round(x / scale)) * scale;
      error += counts[b] * (x - level) ** 2;
    }
    if (error < least) {
      least = error;
      best = i * binWidth;
    }
  }
  return best;
}

export function entropyThreshold({ counts, binWidth, absmax }: EqualHistogram): number {
  const total = counts.reduce((a, b) => a + b, 0);
  let best = equalBins;
  let least = Number.POSITIVE_INFINITY;
  const sums = new Float64Array(levels);
  const filled = new Float64Array(levels);
  let inside = 0;
  for (let b = 0; b < levels - 1; b++) inside += counts[b];
  for (let i = levels; i <= equalBins; i++) {
    inside += counts[i - 1];
    const divergence = divergenceOf(counts, i, inside, total, sums, filled);
    if (divergence < least) {
      least = divergence;
      best = i;
    }
  }
  return Math.min(absmax, (best + 0.5) * binWidth);
}

/** KL(P || Q) of the first i bins; infinite where Q has nothing and P has. */
function divergenceOf(
  counts: Float64Array,
  i: number,
  inside: number,
  total: number,
  sums: Float64Array,
  filled: Float64Array,
): number {
  if (inside === 0) return Number.POSITIVE_INFINITY;
  sums.fill(0);
  filled.fill(0);
  const levelOf = (b: number) => Math.floor((b * levels) / i);
  for (let b = 0; b < i; b++) {
    if (counts[b] === 0) continue;
    sums[levelOf(b)] += counts[b];
    filled[levelOf(b)]++;
  }
  const outside = total - inside;
  let divergence = 0;
  for (let b = 0; b < i; b++) {
    const p = counts[b] + (b === i - 1 ? outside : 0);
    if (p === 0) continue;
    if (counts[b] === 0) return Number.POSITIVE_INFINITY;
    const level = levelOf(b);
    const q = sums[level] / filled[level];
    divergence += (p / total) * Math.log(p / total / (q / inside));
  }
  return divergence;
}
