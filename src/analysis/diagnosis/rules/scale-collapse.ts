/** Scales that shrink to a fraction of what they were: the layer's output vanishes. */
import type { DiagnosisRule } from "../rule.ts";

const least = 0.2;

export const scaleCollapse: DiagnosisRule = {
  name: "scale-collapse",
  summary: "scales that shrink towards 0",
  check({ layers }) {
    const collapsed = [...layers].flatMap(([name, lines]) => {
      const scales = lines.flatMap(({ gamma }) => (gamma === null ? [] : [gamma]));
      const [first, last] = [scales[0], scales.at(-1)];
      return scales.length >= 2 && Math.abs(last!) < least * Math.abs(first) ? [{ name, first, last: last! }] : [];
    });
    if (collapsed.length === 0) return null;
    const [{ name, first, last }] = collapsed;
    return {
      what: "scales of ternary layers collapse",
      figure: `${collapsed.length} of ${layers.size} layers are below ${least} of their first scale: ${name} ${first.toPrecision(3)} to ${last.toPrecision(3)}`,
      why: "weight decay pulls latent weights to 0 faster than gradients hold them",
      advice: "lower optimizer.weightDecay (0 for ternary matrices in the last part of a run is usual)",
    };
  },
};
