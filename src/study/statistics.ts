/**
 * Means over seeds, with their errors, and differences over the seeds that two arms have in common. Formulas as NumPy's
 * (`std(ddof=1)`); held to its values by statistics.test.ts.
 */

export interface Estimate {
  /** Values that it is of. */
  n: number;
  mean: number;
  /** s / sqrt(n), s with n - 1 below; null of one value. */
  standardError: number | null;
}

/** By seed. */
export type BySeed = ReadonlyMap<number, number>;

/** null of no values. */
export function estimate(values: readonly number[]): Estimate | null {
  const n = values.length;
  if (n === 0) return null;
  const mean = values.reduce((sum, x) => sum + x, 0) / n;
  if (n === 1) return { n, mean, standardError: null };
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return { n, mean, standardError: Math.sqrt(squares / (n - 1) / n) };
}

/**
 * f(a, b) of each seed that both have: what the seeds' common noise (initial weights, order of the data) cancels from.
 *
 * null where they have no seed in common.
 */
export function paired(a: BySeed, b: BySeed, f: (a: number, b: number) => number): Estimate | null {
  const both = [...a.keys()].filter((seed) => b.has(seed)).sort((x, y) => x - y);
  return estimate(both.map((seed) => f(a.get(seed)!, b.get(seed)!)));
}

/** 97.5 % quantiles of Student's t, by degrees of freedom from 1. */
const quantiles = [
  ...[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228],
  ...[2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086],
  ...[2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042],
];

/** Half of the 95 % interval of a mean, in its units; null of one value. With n = 2 it is 12.7 standard errors. */
export function halfInterval({ n, standardError }: Estimate): number | null {
  // Beyond the table the last value, which is a little too wide.
  return standardError === null ? null : standardError * (quantiles[n - 2] ?? quantiles.at(-1)!);
}

export type Verdict = "lower" | "higher" | "within noise" | "one seed";

/** Whether a paired difference is told from zero at 95 %. */
export function verdictOf(difference: Estimate): Verdict {
  const half = halfInterval(difference);
  if (half === null) return "one seed";
  if (Math.abs(difference.mean) <= half) return "within noise";
  return difference.mean < 0 ? "lower" : "higher";
}
