/** What a rule of `bitnet diagnose` is. One file in rules/ and one line in index.ts each. */
import type { Evidence } from "./evidence.ts";

export interface Finding {
  /** One sentence: what is wrong. */
  what: string;
  /** The numbers that show it. */
  figure: string;
  why: string;
  /** What to do. */
  advice: string;
}

export interface DiagnosisRule {
  /** As in the result: "divergence". */
  readonly name: string;
  /** What it looks for, in a few words. */
  readonly summary: string;
  /** null: nothing is wrong, or there is too little to tell. */
  check(evidence: Evidence): Finding | null;
}
