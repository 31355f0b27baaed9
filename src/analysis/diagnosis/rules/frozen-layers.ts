/** Ternary layers that nothing moves, while others change and train.freeze does not name them. */
import { matchesPattern } from "../../../platform/patterns.ts";
import type { DiagnosisRule } from "../rule.ts";

/** Measurements in which a layer must stand still. */
const leastLines = 2;

export const frozenLayers: DiagnosisRule = {
  name: "frozen-layers",
  summary: "layers that stand still while others change",
  check({ layers, config, steps }) {
    // No layer moves at a learning rate of 0.
    if (steps.every(({ learningRate }) => learningRate === 0)) return null;
    const still: string[] = [];
    let moving = 0;
    for (const [name, lines] of layers) {
      const known = lines.flatMap(({ changed }) => (changed === null ? [] : [changed]));
      if (known.some(Boolean)) moving++;
      else if (known.length >= leastLines && !config.train.freeze.some((pattern) => matchesPattern(pattern, name)))
        still.push(name);
    }
    if (still.length === 0 || moving === 0) return null;
    return {
      what: "layers are not trained",
      figure: `${still.length} of ${layers.size} layers had no flip and no change of scale: ${still.slice(0, 3).join(", ")}${still.length > 3 ? ", ..." : ""}`,
      why: "no gradient reaches them, their learning rate is 0 (optimizer.multipliers), or a callback froze them",
      advice:
        "look at optimizer.multipliers, train.callbacks and the layers' estimators; bitnet inspect shows each layer",
    };
  },
};
