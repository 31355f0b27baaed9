/**
 * Quality score of a field: such as FineWeb-Edu's `score` or `int_score`, of which its authors keep 3 and more
 * (G. Penedo et al., arXiv:2406.17557, section 4). The field is named where the source is (score of the field mapping).
 */
import { UsageError } from "../../platform/errors.ts";
import { defineFilter, type Stage } from "../pipeline.ts";

export interface ScoreOptions {
  min?: number;
  max?: number;
}

/** Drops documents: no-score, low-score, high-score. */
export function scoreFilter(options: ScoreOptions = {}): Stage {
  const { min = 3, max } = options;
  if (max !== undefined && max < min) throw new UsageError(`score: max is ${max}, below min, which is ${min}`);
  return defineFilter("score", { min, ...(max === undefined ? {} : { max }) }, (document) => {
    const { score } = document;
    if (score === null) return { drop: "no-score" };
    if (score < min) return { drop: "low-score", detail: `${score}, wanted at least ${min}` };
    if (max !== undefined && score > max) return { drop: "high-score", detail: `${score}, wanted at most ${max}` };
    return document;
  });
}
