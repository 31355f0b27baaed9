/** Ternary layers with nearly all trits 0: they pass nothing on. */
import type { DiagnosisRule } from "../rule.ts";

/** Gaussian weights have 0.31 under absmean, 0.42 under TWN. */
const mostZeros = 0.9;

export const deadLayers: DiagnosisRule = {
  name: "dead-layers",
  summary: "layers whose trits are nearly all 0",
  check({ layers }) {
    const dead = [...layers].flatMap(([name, lines]) => {
      const zero = lines.at(-1)?.zero ?? null;
      return zero !== null && zero > mostZeros ? [{ name, zero }] : [];
    });
    if (dead.length === 0) return null;
    const shown = dead.slice(0, 3).map(({ name, zero }) => `${name} ${(100 * zero).toFixed(1)} %`);
    return {
      what: "trits of layers are nearly all 0",
      figure: `${dead.length} of ${layers.size} layers: ${shown.join(", ")} zeros (Gaussian weights: 31 %)`,
      why: "a few large weights raise the scale over all others, or the threshold is too high",
      advice:
        "lower the learning rate or set optimizer.latentClip; another weight quantizer (absmedian) follows outliers less",
    };
  },
};
