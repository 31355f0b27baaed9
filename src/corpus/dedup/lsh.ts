/**
 * Locality-sensitive hashing of MinHash signatures in bands (Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets",
 * section 3.4): a pair becomes a candidate when all rows of at least one band agree,
 *
 *   P(candidate | similarity s) = 1 - (1 - s^rows)^bands
 */
import { UsageError } from "../../platform/errors.ts";

export interface Bands {
  bands: number;
  rows: number;
}

/** Probability that a pair of this similarity becomes a candidate. */
export const candidateProbability = (similarity: number, { bands, rows }: Bands): number =>
  1 - (1 - similarity ** rows) ** bands;

/**
 * The bands that fit in a signature: of all that find a pair at the threshold with probability `recall` or more, those
 * with the most rows, since each row more lets fewer dissimilar pairs through to be verified.
 *
 * 128 permutations, 0.8, 0.99 give 21 bands of 6 rows: 0.998 at 0.8, 0.28 at 0.5.
 *
 * @throws UsageError if even one row a band does not reach it
 */
export function chooseBands(permutations: number, threshold: number, recall: number): Bands {
  for (let rows = permutations; rows >= 1; rows--) {
    const choice = { bands: Math.floor(permutations / rows), rows };
    if (candidateProbability(threshold, choice) >= recall) return choice;
  }
  throw new UsageError(
    `${permutations} permutations cannot find pairs of similarity ${threshold} with probability ${recall}; take more of them`,
  );
}

/** The curve in steps of 0.1, for people and reports. */
export const lshCurve = (choice: Bands): { similarity: number; probability: number }[] =>
  Array.from({ length: 10 }, (_, i) => {
    const similarity = (i + 1) / 10;
    return { similarity, probability: candidateProbability(similarity, choice) };
  });
