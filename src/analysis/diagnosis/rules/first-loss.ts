/** A first loss far above ln V, that of a model that knows nothing. */
import type { DiagnosisRule } from "../rule.ts";

const above = 1;

export const firstLoss: DiagnosisRule = {
  name: "first-loss",
  summary: "a first loss above ln V",
  check({ steps, config }) {
    const [first] = steps;
    if (first?.step !== 1 || first.loss === null) return null;
    const guessing = Math.log(config.model.vocabSize);
    if (first.loss < guessing + above) return null;
    return {
      what: "the first loss is above that of guessing",
      figure: `${first.loss.toFixed(3)} nats at step 1, ln V is ${guessing.toFixed(3)}`,
      why: "weights as they are drawn give each token about the same chance; a higher loss is a model that is sure of wrong tokens: weights drawn too large, weights of another tokenizer, or objectives added to the loss",
      advice:
        "lower model.initStd, or check that the model of --from was trained with this tokenizer; with several objectives look at `losses` in the metrics",
    };
  },
};
