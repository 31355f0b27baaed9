/**
 * What a difference is called. Delta is zero-based and signed: positive is always better for the first model, 0 is parity.
 *
 *   higher is better: delta = (a - b) / |b|      lower is better: delta = (b - a) / |b|
 *
 * The words are by thresholds that every report states; "within noise" comes before them.
 */
import { noiseStandardErrors } from "../eval/index.ts";

export type Interpretation =
  | "major win"
  | "win"
  | "parity"
  | "minor gap"
  | "needs improvement"
  | "significant deficiency"
  | "within noise"
  | "not compared";

/** Delta from which on (in per cent) each word holds, from the top. */
export const thresholds: readonly { word: Interpretation; fromPercent: number }[] = [
  { word: "major win", fromPercent: 20 },
  { word: "win", fromPercent: 2 },
  { word: "parity", fromPercent: -2 },
  { word: "minor gap", fromPercent: -10 },
  { word: "needs improvement", fromPercent: -25 },
  { word: "significant deficiency", fromPercent: Number.NEGATIVE_INFINITY },
];

export const noiseRule = `within noise: the values are at most ${noiseStandardErrors} standard errors of their difference apart`;

/** What stands behind an accuracy that says nothing, and what it means. */
export const chanceWord = "at chance";
export const chanceRule = `${chanceWord}: within ${noiseStandardErrors} standard errors of what needs no model, such as guessing, the shortest answer, or always the same one; where both are, their difference is within noise; below chance: further below all of that`;

/** Share by which a is better than b; null where b is 0 (and a is not), or one of them is missing. */
export function deltaOf(a: number | null, b: number | null, higherIsBetter: boolean): number | null {
  if (a === 0 && b === 0) return 0;
  if (a === null || b === null || b === 0 || !Number.isFinite(a) || !Number.isFinite(b)) return null;
  return (higherIsBetter ? a - b : b - a) / Math.abs(b);
}

/** Of the difference of two values measured independently; null where nothing is known of either. */
export function differenceError(a: number | null, b: number | null): number | null {
  return a === null && b === null ? null : Math.hypot(a ?? 0, b ?? 0);
}

/**
 * @param delta      of deltaOf
 * @param difference a - b, and its standard error, in the metric's own units
 */
export function interpret(
  delta: number | null,
  difference: { value: number; standardError: number | null } | null = null,
): Interpretation {
  if (
    difference !== null &&
    difference.standardError !== null &&
    Math.abs(difference.value) <= noiseStandardErrors * difference.standardError
  )
    return "within noise";
  if (delta === null) return "not compared";
  // 2 % is 2 %, whatever the division left in the last bit.
  const percent = Number((100 * delta).toPrecision(12));
  return thresholds.find(({ fromPercent }) => percent >= fromPercent)!.word;
}

/** "+12.3 %", "-0.4 %", "0.0 %" */
export function formatDelta(delta: number | null): string {
  if (delta === null) return "–";
  const text = (100 * delta).toFixed(1);
  if (Number(text) === 0) return "0.0 %";
  return `${delta > 0 ? "+" : ""}${text} %`;
}
