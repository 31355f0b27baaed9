/** Standard errors, pass@k, and when a difference says nothing. */
import { createRandom } from "../platform/random.ts";

export const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

/** Standard error of a mean, as the harness's `mean_stderr`: sample deviation (n - 1) / √n. null for one value. */
export function meanStandardError(values: readonly number[]): number | null {
  const n = values.length;
  if (n < 2) return null;
  const m = mean(values);
  const variance = values.reduce((sum, x) => sum + (x - m) ** 2, 0) / (n - 1);
  return Math.sqrt(variance / n);
}

/** e to the mean negative log-likelihood of items. */
export const itemPerplexity = (logProbabilities: readonly number[]): number => Math.exp(-mean(logProbabilities));

/**
 * Standard error of a statistic by the bootstrap, as the harness has it for perplexity: its deviation over resamples of
 * the items, drawn with a fixed seed.
 */
export function bootstrapStandardError(
  values: readonly number[],
  statistic: (sample: readonly number[]) => number,
  { resamples = 1000, seed = 1234 } = {},
): number | null {
  if (values.length < 2) return null;
  const random = createRandom(seed);
  const results: number[] = [];
  const sample = new Array<number>(values.length);
  for (let i = 0; i < resamples; i++) {
    for (let k = 0; k < sample.length; k++) sample[k] = values[random.integer(values.length)];
    results.push(statistic(sample));
  }
  const m = mean(results);
  return Math.sqrt(results.reduce((sum, x) => sum + (x - m) ** 2, 0) / (results.length - 1));
}

/**
 * pass@k of one problem, unbiased (Chen et al. 2021): 1 - C(n - c, k) / C(n, k), the chance that one of k programs drawn
 * from the n is right.
 *
 * @param n programs written
 * @param c of them right
 * @throws RangeError for k over n
 */
export function passAtK(n: number, c: number, k: number): number {
  if (!(k >= 1 && k <= n && c >= 0 && c <= n)) throw new RangeError(`pass@k: n ${n}, c ${c}, k ${k}`);
  if (n - c < k) return 1;
  let allWrong = 1;
  for (let i = n - c + 1; i <= n; i++) allWrong *= 1 - k / i;
  return 1 - allWrong;
}

/** A difference of fewer standard errors is noise: 95 of 100 are, where there is none. */
export const noiseStandardErrors = 1.96;

/**
 * Whether an accuracy is no more than chance: between the lowest and the highest of what needs no model (1/choices, or
 * always the same answer), give or take `noiseStandardErrors` standard errors. The error is the larger of the measured
 * one and that of n draws at the baseline, since an accuracy of 0 or 1 has a measured one of 0.
 */
export function isWithinNoise(
  accuracy: number,
  standardError: number | null,
  n: number,
  baselines: readonly number[],
): boolean {
  const reach = (p: number) => noiseStandardErrors * Math.max(standardError ?? 0, Math.sqrt((p * (1 - p)) / n));
  return baselines.some((p) => accuracy >= p - reach(p)) && baselines.some((p) => accuracy <= p + reach(p));
}
