/** A tokenizer in the run's folder that is not the one it was trained with, or that has more tokens than the model. */
import type { DiagnosisRule } from "../rule.ts";

export const tokenizerMismatch: DiagnosisRule = {
  name: "tokenizer-mismatch",
  summary: "a tokenizer that is not the run's, or too large for the model",
  check({ meta, config, tokenizerHash }) {
    const advice = "put the tokenizer.json of one of the run's checkpoints back";
    if (tokenizerHash !== null && tokenizerHash !== meta.tokenizer.hash)
      return {
        what: "tokenizer.json is not the tokenizer that the run was trained with",
        figure: `hash ${tokenizerHash.slice(0, 12)}, but meta.json says ${meta.tokenizer.hash.slice(0, 12)}`,
        why: "the same text becomes other tokens, which the model has not learned",
        advice,
      };
    if (meta.tokenizer.vocabSize <= config.model.vocabSize) return null;
    return {
      what: "the tokenizer has more tokens than the model",
      figure: `${meta.tokenizer.vocabSize} tokens, model.vocabSize ${config.model.vocabSize}`,
      why: "tokens beyond the model's vocabulary have no embedding",
      advice,
    };
  },
};
