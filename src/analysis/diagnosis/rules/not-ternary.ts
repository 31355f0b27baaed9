/** A BitNet run whose weights are not ternary, at all or not yet at its end. */
import type { DiagnosisRule } from "../rule.ts";

export const notTernary: DiagnosisRule = {
  name: "not-ternary",
  summary: "a BitNet run without ternary weights, or not quantized wholly at its end",
  check({ config, meta, steps }) {
    if (config.model.variant !== "bitnet") return null;
    if (meta.parameters.ternary === 0)
      return {
        what: "no weight is ternary",
        figure: `0 of ${meta.parameters.total} parameters`,
        why: "model.quantization gives every layer another quantizer, or none",
        advice: "remove the overrides of model.quantization, or train the twin by --model.variant full",
      };
    const last = steps.at(-1);
    if (!last || last.step < meta.derived.steps || last.quantLambda === null || last.quantLambda >= 1) return null;
    return {
      what: "the run ended before its weights were wholly quantized",
      figure: `lambda ${last.quantLambda} at step ${last.step}`,
      why: "what is saved is the ternary model, which this run did not train to its end",
      advice: "shorten train.progressive or train for more steps",
    };
  },
};
