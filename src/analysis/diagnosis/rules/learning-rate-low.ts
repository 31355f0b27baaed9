/** A loss that hardly falls while hardly a trit flips. */
import { ends, lossesOf } from "../evidence.ts";
import type { DiagnosisRule } from "../rule.ts";

const leastSteps = 50;
/** Share of ln V by which a loss that began near it must have fallen. */
const fall = 0.02;

export const learningRateLow: DiagnosisRule = {
  name: "learning-rate-low",
  summary: "a loss that stays at that of guessing, with a tiny rate",
  check({ steps, config, meta }) {
    const after = lossesOf({ steps }).filter(({ step }) => step > meta.derived.warmupSteps);
    const moving = steps.filter(({ loss, gradNorm }) => loss !== null && gradNorm !== null && gradNorm > 0);
    if (after.length < leastSteps || moving.length < leastSteps) return null;
    const { first, last } = ends(after.map(({ loss }) => loss));
    const guessing = Math.log(config.model.vocabSize);
    const stuck = Math.abs(first - guessing) < 0.5 && Math.abs(last - guessing) < 0.5 && first - last < fall * guessing;
    const peak = steps.reduce((most, { learningRate }) => Math.max(most, learningRate), 0);
    // Plain gradient descent has rates of another size.
    if (!stuck || peak >= 1e-5 || config.optimizer.kind === "sgd") return null;
    return {
      what: "the learning rate is too low",
      figure: `loss ${first.toFixed(3)} to ${last.toFixed(3)} in ${after.length} logged steps; learning rate at most ${peak}`,
      why: "each step moves a weight by about the learning rate; ternary weights change only when they cross a threshold",
      advice: "raise optimizer.learningRate; presets train between 1e-4 and 3e-3",
    };
  },
};
