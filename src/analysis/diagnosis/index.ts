/** Diagnosis of a run's folder: rules over its evidence, the gravest first. See docs/diagnosis.md. Called by cli/. */
import { Registry } from "../../platform/registry.ts";
import { type Evidence, readEvidence } from "./evidence.ts";
import type { DiagnosisRule, Finding } from "./rule.ts";
import { dataStarving } from "./rules/data-starving.ts";
import { deadLayers } from "./rules/dead-layers.ts";
import { divergence } from "./rules/divergence.ts";
import { firstLoss } from "./rules/first-loss.ts";
import { frozenLayers } from "./rules/frozen-layers.ts";
import { learningRateHigh } from "./rules/learning-rate-high.ts";
import { learningRateLow } from "./rules/learning-rate-low.ts";
import { maskedTargets } from "./rules/masked-targets.ts";
import { memoryGrowth } from "./rules/memory-growth.ts";
import { noEndOfText } from "./rules/no-end-of-text.ts";
import { notTernary } from "./rules/not-ternary.ts";
import { overfitting } from "./rules/overfitting.ts";
import { scaleCollapse } from "./rules/scale-collapse.ts";
import { tokenizerMismatch } from "./rules/tokenizer-mismatch.ts";

export { type Evidence, type LayerLine, readEvidence, type StepLine } from "./evidence.ts";
export type { DiagnosisRule, Finding } from "./rule.ts";

/** In the order of findings: causes before their consequences. */
export const diagnosisRules = new Registry<DiagnosisRule>(
  "diagnosis rule",
  [
    ...[tokenizerMismatch, notTernary, maskedTargets, firstLoss, frozenLayers, scaleCollapse, deadLayers],
    ...[learningRateHigh, divergence, learningRateLow, noEndOfText, overfitting, dataStarving, memoryGrowth],
  ],
  (rule) => (typeof rule.check === "function" ? null : "check()"),
);

export interface Diagnosis {
  folder: string;
  /** Of the last line. */
  step: number;
  steps: number;
  /** Rules that were asked. */
  rules: readonly string[];
  findings: (Finding & { rule: string })[];
}

export function diagnose(evidence: Evidence): Diagnosis {
  return {
    folder: evidence.folder,
    step: evidence.steps.at(-1)?.step ?? 0,
    steps: evidence.meta.derived.steps,
    rules: [...diagnosisRules.names],
    findings: diagnosisRules.all.flatMap((rule) => {
      const finding = rule.check(evidence);
      return finding ? [{ rule: rule.name, ...finding }] : [];
    }),
  };
}

/** @throws UsageError for a folder that is no run, or without a step yet; FormatError for a damaged one */
export const diagnoseRun = (folder: string): Diagnosis => diagnose(readEvidence(folder));
