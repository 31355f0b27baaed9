/** Batches that were skipped because no target in them counts in the loss. */
import type { DiagnosisRule } from "../rule.ts";

const share = 0.1;

export const maskedTargets: DiagnosisRule = {
  name: "masked-targets",
  summary: "batches without a target that counts",
  check({ steps, config }) {
    const skipped = steps.reduce((sum, { skippedBatches }) => sum + skippedBatches, 0);
    const done = (steps.at(-1)?.step ?? 0) - (steps[0]?.step ?? 1) + 1;
    if (skipped < share * (done + skipped) || skipped === 0) return null;
    return {
      what: "all targets are masked in many batches",
      figure: `${skipped} batches skipped beside ${done} steps`,
      why: `no target counts in them; data.lossAfter is ${JSON.stringify(config.data.lossAfter)}`,
      advice:
        "check that the text of data.lossAfter stands in every document and that sequences are long enough to hold what follows it",
    };
  },
};
