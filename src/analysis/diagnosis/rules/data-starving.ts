/** Steps that wait for their batches. */
import type { DiagnosisRule } from "../rule.ts";

const share = 0.2;
const leastMs = 1000;

export const dataStarving: DiagnosisRule = {
  name: "data-starving",
  summary: "steps that wait for data",
  check({ steps, config }) {
    // The first step opens files.
    const rest = steps.slice(1);
    const elapsed = rest.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0);
    const waited = rest.reduce((sum, { dataWaitMs }) => sum + dataWaitMs, 0);
    if (elapsed < leastMs || waited < share * elapsed) return null;
    return {
      what: "training waits for its data",
      figure: `${((100 * waited) / elapsed).toFixed(0)} % of ${(elapsed / 1000).toFixed(1)} s`,
      why: `batches are read more slowly than they are computed; data.prefetch is ${config.data.prefetch}`,
      advice: "raise data.prefetch, prepare the text ahead (bitnet data prepare), or move it to a faster disk",
    };
  },
};
