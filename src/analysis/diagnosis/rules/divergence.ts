/** Steps without a finite loss or gradient, or a loss that ends far above its lowest. */
import { ends, lossesOf } from "../evidence.ts";
import type { DiagnosisRule } from "../rule.ts";

/** Nats that the smoothed loss may end above its lowest. */
const rise = 1;
const window = 10;

export const divergence: DiagnosisRule = {
  name: "divergence",
  summary: "losses that are not finite, or rise and stay high",
  check(evidence) {
    const bad = evidence.steps.filter(({ loss, gradNorm }) => loss === null || gradNorm === null);
    if (bad.length > 0)
      return {
        what: "the loss or the gradient was not finite",
        figure: `${bad.length} of ${evidence.steps.length} logged steps, the first at step ${bad[0].step}`,
        why: "a step too large makes weights or activations overflow; such steps are skipped, and the state before them is already bad",
        advice:
          "lower optimizer.learningRate (try a third), keep optimizer.clipNorm at 1, and go on from a checkpoint before it",
      };
    const losses = lossesOf(evidence);
    if (losses.length < 3 * window) return null;
    const values = losses.map(({ loss }) => loss);
    let [lowest, at] = [Number.POSITIVE_INFINITY, 0];
    for (let i = window; i <= values.length; i++) {
      const smooth = values.slice(i - window, i).reduce((sum, x) => sum + x, 0) / window;
      if (smooth < lowest) [lowest, at] = [smooth, losses[i - 1].step];
    }
    const { last } = ends(values);
    if (last < lowest + rise) return null;
    return {
      what: "the loss rose and stayed high",
      figure: `${lowest.toFixed(3)} nats up to step ${at}, ${last.toFixed(3)} at the end`,
      why: "the updates became too large for the weights to settle, or the data changed",
      advice:
        "go back to a checkpoint before the rise with a lower optimizer.learningRate or a longer schedule.warmupSteps",
    };
  },
};
