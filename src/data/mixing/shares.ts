/**
 * Which source the n-th draw comes from, so that after every draw, not only on average, each source has had its share:
 * with weights w (summing to 1) and c_i of n draws from source i,
 *
 *     |c_i - n · w_i| < 1   for every i and every n.
 *
 * Taking the largest deficit does not keep this for many sources (a deficit may grow to about ln k). This does: a source
 * is eligible when its next draw would not put it one draw or more ahead (n · w_i > c_i); of the eligible, take the one
 * whose next draw is due first, at the first n with n · w_i >= c_i + 1. Each draw of a source is then a job of one slot
 * with a release and a deadline, earliest deadline first meets all deadlines that can be met, and that these can be is
 * Tijdeman's theorem ("The chairman assignment problem", Discrete Mathematics 32, 1980; the same windows are those of
 * Pfair scheduling: Baruah, Cohen, Plaxton & Varvel, "Proportionate progress", Algorithmica 15, 1996).
 *
 * All in whole numbers: weights become parts of a whole P, and what is kept is lag_i = n · p_i - c_i · P. The pattern
 * repeats after P draws. Knows nothing of sequences.
 */
import { DataError, UsageError } from "../../platform/errors.ts";

/** Weights that are no short decimals are rounded to parts of this many: 1e-9 of the whole. */
const finestWhole = 1e9;

/**
 * Weights as whole parts without a common divisor: [0.67, 0.15, 0.18] becomes [67, 15, 18].
 *
 * Exact where weights are decimals of up to 6 places; else rounded to a billionth of their sum, and at least one part.
 *
 * @throws UsageError for no weights, or one that is no number above 0
 */
export function partsOf(weights: readonly number[]): number[] {
  if (weights.length === 0) throw new UsageError("a mixture has no sources; name at least one");
  for (const weight of weights)
    if (!(Number.isFinite(weight) && weight > 0))
      throw new UsageError(`a weight is ${weight}; expected a number above 0`);
  const sum = weights.reduce((a, b) => a + b, 0);
  let parts = weights.map((weight) => Math.max(1, Math.round((weight / sum) * finestWhole)));
  for (let scale = 1; scale <= 1e6; scale *= 10) {
    const scaled = weights.map((weight) => weight * scale);
    const rounded = scaled.map(Math.round);
    // 0.07 * 100 is 7.000000000000001: as close as a float's own rounding is the decimal that was written.
    const exact = scaled.every((value, i) => Math.abs(value - rounded[i]) <= 4 * Number.EPSILON * value);
    if (!exact || rounded.reduce((a, b) => a + b, 0) > finestWhole) continue;
    parts = rounded;
    break;
  }
  const divisor = parts.reduce(greatestCommonDivisor);
  return parts.map((part) => part / divisor);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

export interface Shares {
  /** Draws so far from each source. */
  readonly counts: readonly number[];
  /** Draws so far. */
  readonly draws: number;
  /** The source of the next draw, which is then counted. */
  next(): number;
  /** Goes on after these counts. DataError for counts that this schedule never comes to. */
  restore(counts: readonly number[]): void;
}

/** @param parts as `partsOf` gives them */
export function createShares(parts: readonly number[]): Shares {
  const whole = parts.reduce((a, b) => a + b, 0);
  const lag = parts.map(() => 0);
  const counts = parts.map(() => 0);
  let draws = 0;
  return {
    counts,
    get draws() {
      return draws;
    },
    next() {
      let chosen = -1;
      let earliest = Number.POSITIVE_INFINITY;
      for (let i = 0; i < parts.length; i++) {
        lag[i] += parts[i];
        if (lag[i] <= 0) continue;
        // Draws from now until this one is due; the lags sum to P before a draw, so somebody is eligible.
        const due = Math.max(0, Math.ceil((whole - lag[i]) / parts[i]));
        if (due < earliest) {
          earliest = due;
          chosen = i;
        }
      }
      lag[chosen] -= whole;
      counts[chosen]++;
      draws++;
      return chosen;
    },
    restore(saved) {
      const known = saved.length === parts.length && saved.every((count) => Number.isSafeInteger(count) && count >= 0);
      const total = saved.reduce((a, b) => a + b, 0);
      // Products may pass 2^53.
      const lags = known ? saved.map((c, i) => BigInt(total) * BigInt(parts[i]) - BigInt(c) * BigInt(whole)) : [];
      if (!known || lags.some((value) => value <= -BigInt(whole) || value >= BigInt(whole)))
        throw new DataError(
          `cannot continue from the saved data position: ${saved.join(", ")} draws of the sources do not belong to weights of ${parts.join(" : ")}`,
        );
      for (let i = 0; i < parts.length; i++) {
        lag[i] = Number(lags[i]);
        counts[i] = saved[i];
      }
      draws = total;
    },
  };
}
