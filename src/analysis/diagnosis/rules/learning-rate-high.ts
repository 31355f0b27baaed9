/** A loss that stays at or above that of guessing after the warm-up. */
import { ends, lossesOf } from "../evidence.ts";
import type { DiagnosisRule } from "../rule.ts";

/** Nats above ln V: a model that has learned nothing is at ln V, one that is shaken by its updates above. */
const above = 0.5;
const leastSteps = 20;

export const learningRateHigh: DiagnosisRule = {
  name: "learning-rate-high",
  summary: "a loss above that of guessing after the warm-up",
  check({ steps, config, meta }) {
    const after = lossesOf({ steps }).filter(({ step }) => step > meta.derived.warmupSteps);
    if (after.length < leastSteps) return null;
    const { last } = ends(after.map(({ loss }) => loss));
    const guessing = Math.log(config.model.vocabSize);
    if (last < guessing + above) return null;
    const peak = steps.reduce((most, { learningRate }) => Math.max(most, learningRate), 0);
    return {
      what: "the learning rate is too high",
      figure: `loss ${last.toFixed(3)} at the end, ln V is ${guessing.toFixed(3)}; learning rate up to ${peak}`,
      why: "a model that guesses all tokens alike has the loss ln V; updates that are too large push it above",
      advice: "lower optimizer.learningRate (try a tenth)",
    };
  },
};
