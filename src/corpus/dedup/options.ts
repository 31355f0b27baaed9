/** What a deduplication is asked to do: options with their defaults, and what follows from them. */
import { UsageError } from "../../platform/errors.ts";
import { type Bands, candidateProbability, chooseBands } from "./lsh.ts";

/** Which document of a cluster stays. Ties go to the one that comes first: by source name, then by place in it. */
export type KeepRule = "first" | "longest" | "score";

/** How a candidate pair becomes a duplicate: by exact Jaccard similarity of its shingles, or by the signatures' estimate. */
export type Verification = "exact" | "signature";

export interface DedupOptions {
  /** Find near duplicates, not only exact ones (default true). */
  near?: boolean;
  /**
   * What exact duplicates share: "normalised" (default) lower case, NFC, white space as one space; "verbatim" every
   * character.
   */
  exactText?: "normalised" | "verbatim";
  /** Jaccard similarity of word shingles from which two documents are near duplicates (default 0.8). */
  threshold?: number;
  /** Words in a shingle (default 5). Documents with fewer words have exact duplicates only. */
  shingle?: number;
  /** MinHash values a document (default 128). */
  permutations?: number;
  /** Bands and rows; default: computed from the curve, so that a pair at the threshold is found with `recall`. */
  bands?: number;
  rows?: number;
  /** Least probability that a pair at the threshold is found (default 0.99); decides bands and rows. */
  recall?: number;
  verify?: Verification;
  keep?: KeepRule;
  /** Words in an n-gram of held-out text (default 13). */
  ngram?: number;
  /** A document that shares so many n-grams with held-out text is dropped (default 1). */
  overlap?: number;
  /**
   * Documents that share a band beyond this number are not all compared with each other, but each with the first of them
   * and with its neighbour (default 64); the report counts such groups.
   */
  maxBucket?: number;
  /** Seed of the permutations (default 1). */
  seed?: number;
  /** Pairs shown in the report for each reason (default 5). */
  samples?: number;
}

export interface ResolvedDedup extends Required<Omit<DedupOptions, "recall">>, Bands {
  /** Probability that a pair at the threshold becomes a candidate. */
  recall: number;
  /** Candidates whose estimated similarity is below this are dropped before they are verified. */
  leastEstimate: number;
}

/** @throws UsageError for a value out of its range, or values that contradict */
export function resolveDedup(options: DedupOptions): ResolvedDedup {
  const {
    near = true,
    exactText = "normalised",
    threshold = 0.8,
    shingle = 5,
    permutations = 128,
    recall = 0.99,
    verify = "exact",
    keep = "first",
    ngram = 13,
    overlap = 1,
    maxBucket = 64,
    seed = 1,
    samples = 5,
  } = options;
  const share = (name: string, value: number) => {
    if (!(value > 0 && value < 1)) throw new UsageError(`${name} is ${value}; expected a number between 0 and 1`);
  };
  const whole = (name: string, value: number, least: number, most: number) => {
    if (!(Number.isInteger(value) && value >= least && value <= most))
      throw new UsageError(`${name} is ${value}; expected a whole number from ${least} to ${most}`);
  };
  share("the threshold", threshold);
  share("the recall", recall);
  whole("shingle", shingle, 1, 100);
  whole("permutations", permutations, 2, 1024);
  whole("ngram", ngram, 2, 1000);
  whole("overlap", overlap, 1, 1e9);
  whole("maxBucket", maxBucket, 2, 10000);
  whole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  whole("samples", samples, 0, 1000);
  if ((options.bands === undefined) !== (options.rows === undefined))
    throw new UsageError("name bands and rows both, or neither (they are then computed from threshold and recall)");
  const chosen =
    options.bands === undefined || options.rows === undefined
      ? chooseBands(permutations, threshold, recall)
      : { bands: options.bands, rows: options.rows };
  whole("bands", chosen.bands, 1, permutations);
  whole("rows", chosen.rows, 1, permutations);
  if (chosen.bands * chosen.rows > permutations)
    throw new UsageError(
      `${chosen.bands} bands of ${chosen.rows} rows need ${chosen.bands * chosen.rows} permutations; there are ${permutations}`,
    );
  // Exact: four standard deviations of the estimate below, so that 3 in 100,000 pairs at the threshold are lost here.
  const slack = verify === "exact" ? 4 * Math.sqrt((threshold * (1 - threshold)) / permutations) : 0;
  return {
    near,
    exactText,
    threshold,
    shingle,
    permutations,
    ...chosen,
    recall: candidateProbability(threshold, chosen),
    verify,
    keep,
    ngram,
    overlap,
    maxBucket,
    seed,
    samples,
    leastEstimate: Math.max(0, threshold - slack),
  };
}
