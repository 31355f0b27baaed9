/** A validation loss that rises over its lowest while the training loss falls. */
import { ends, lossesOf } from "../evidence.ts";
import type { DiagnosisRule } from "../rule.ts";

/** Share of the lowest validation loss. */
const rise = 0.03;

export const overfitting: DiagnosisRule = {
  name: "overfitting",
  summary: "validation loss rises while training loss falls",
  check(evidence) {
    const { validation, meta } = evidence;
    if (validation.length < 3) return null;
    const best = validation.reduce((a, b) => (b.lossNats < a.lossNats ? b : a));
    const last = validation.at(-1)!;
    if (last.lossNats < best.lossNats * (1 + rise)) return null;
    const losses = lossesOf(evidence).filter(({ step }) => step >= best.step);
    if (losses.length < 10) return null;
    const { first, last: end } = ends(losses.map(({ loss }) => loss));
    if (end >= first) return null;
    const passes = ((evidence.steps.at(-1)?.step ?? 0) / meta.derived.stepsPerEpoch).toFixed(1);
    return {
      what: "the model overfits its training text",
      figure: `validation ${best.lossNats.toFixed(3)} at step ${best.step}, ${last.lossNats.toFixed(3)} at step ${last.step}; training ${first.toFixed(3)} to ${end.toFixed(3)} since; ${passes} passes over the text`,
      why: "the text is small for the model and is seen again and again",
      advice:
        "use the checkpoint of the lowest loss, stop there (evaluation.patience), give more text or a smaller model",
    };
  },
};
