/**
 * Values of activations, counted: exact moments and extremes, percentiles of their sizes, and, once the largest is known, a
 * histogram of equal bins, which thresholds are chosen from (thresholds.ts). Pure.
 */

/** Low bits of a float32 that are dropped: 10 of the mantissa stay, so a bin is at most 2^-10 of its value wide. */
const droppedBits = 13;
const binsOfSizes = 2 ** (31 - droppedBits);

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

export interface ValueStatistics {
  count: number;
  /** The largest |x|. */
  absmax: number;
  mean: number;
  /** sqrt(mean x²) */
  rms: number;
  /** Excess kurtosis m4 / m2² - 3, of moments about the mean: 0 for a Gaussian. */
  kurtosis: number;
  /** Of |x|, by share in percent: at least this share is no larger. Within 2^-10 of their value, above it. */
  percentiles: Record<string, number>;
}

export const shownPercentiles = [50, 90, 99, 99.9, 99.99] as const;

export class ValueCounter {
  private count = 0;
  private absmax = 0;
  private readonly powers = new Float64Array(5);
  private readonly bins = new Uint32Array(binsOfSizes);

  /** @throws RangeError for a value that is not finite */
  add(values: Float32Array): void {
    const { bins, powers } = this;
    let [s1, s2, s3, s4, most] = [0, 0, 0, 0, this.absmax];
    for (const x of values) {
      const size = Math.abs(x);
      if (!(size <= 3.5e38)) throw new RangeError(`an activation is ${x}`);
      if (size > most) most = size;
      const square = x * x;
      s1 += x;
      s2 += square;
      s3 += square * x;
      s4 += square * square;
      float[0] = size;
      bins[word[0] >>> droppedBits]++;
    }
    this.absmax = most;
    this.count += values.length;
    for (const [i, sum] of [s1, s2, s3, s4].entries()) powers[i + 1] += sum;
  }

  /** The largest size so far. */
  get absmaxNow(): number {
    return this.absmax;
  }

  /** The least upper edge of a bin up to which `share` percent of the sizes lie; at most the largest. */
  percentile(share: number): number {
    // Of 1000 values 99.99 % are 999.9, so the 1000th.
    const wanted = Math.ceil((share / 100) * this.count - 1e-9);
    let below = 0;
    for (let bin = 0; bin < binsOfSizes; bin++) {
      below += this.bins[bin];
      if (below >= wanted && below > 0) {
        word[0] = bin === 0 ? 0 : (bin + 1) << droppedBits;
        return Math.min(float[0], this.absmax);
      }
    }
    return this.absmax;
  }

  statistics(): ValueStatistics {
    const n = this.count;
    const [, m1, r2, r3, r4] = this.powers.map((sum) => sum / n);
    const m2 = r2 - m1 * m1;
    const m4 = r4 - 4 * m1 * r3 + 6 * m1 * m1 * r2 - 3 * m1 ** 4;
    return {
      count: n,
      absmax: this.absmax,
      mean: m1,
      rms: Math.sqrt(r2),
      kurtosis: m2 > 0 ? m4 / (m2 * m2) - 3 : 0,
      percentiles: Object.fromEntries(shownPercentiles.map((share) => [String(share), this.percentile(share)])),
    };
  }
}

/** Bins of the histogram of sizes from 0 to the largest: TensorRT's number. */
export const equalBins = 2048;

/** Sizes |x| in equal bins [i · w, (i + 1) · w) with w = absmax / 2048; the largest is in the last. */
export class EqualHistogram {
  readonly counts = new Float64Array(equalBins);

  constructor(readonly absmax: number) {}

  /** w */
  get binWidth(): number {
    return this.absmax / equalBins;
  }

  add(values: Float32Array): void {
    const { counts, absmax } = this;
    const factor = absmax > 0 ? equalBins / absmax : 0;
    for (const x of values) counts[Math.min(equalBins - 1, Math.floor(Math.abs(x) * factor))]++;
  }
}
