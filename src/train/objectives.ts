/**
 * The objectives that a config can name in `train.objectives`, one line each; objectives/objective.ts says what one is. A
 * new one is a file in objectives/ and a line here; extensions add theirs to `objectiveKinds`.
 */
import { clipL2 } from "./objectives/clip-l2.ts";
import { dampening } from "./objectives/dampening.ts";
import { kurtosis } from "./objectives/kurtosis.ts";
import { l1 } from "./objectives/l1.ts";
import { labelSmoothing } from "./objectives/label-smoothing.ts";
import { nextToken } from "./objectives/next-token.ts";
import {
  type ObjectiveContext,
  type ObjectiveDefinition,
  type WeightConfig,
  weightAt,
} from "./objectives/objective.ts";
import { proximal } from "./objectives/proximal.ts";
import { range } from "./objectives/range.ts";
import type { WeightedObjective } from "./objectives/weighted.ts";
import { zLoss } from "./objectives/z-loss.ts";
import { KindList } from "./registry.ts";

export const objectives = [nextToken, zLoss, labelSmoothing, dampening, proximal, kurtosis, range, l1, clipL2] as const;
export const objectiveKinds = new KindList<ObjectiveDefinition>("objective", "name", objectives);

/** One entry of `train.objectives`: what every objective has; the rest are its own options. */
export interface ObjectiveChoice {
  name: string;
  weight: WeightConfig;
}

/** The objectives that a config names, with their weights. */
export async function createObjectives(
  choices: readonly ObjectiveChoice[],
  context: ObjectiveContext,
): Promise<WeightedObjective[]> {
  const made: WeightedObjective[] = [];
  try {
    for (const [i, choice] of choices.entries()) {
      const definition = objectiveKinds.get(choice.name, `train.objectives[${i}].name`);
      const objective = await definition.create(choice as never, context);
      const { weight } = choice;
      made.push({ objective, weight: typeof weight === "number" ? weight : (step) => weightAt(weight, step) });
    }
    return made;
  } catch (error) {
    for (const { objective } of made) objective.dispose?.();
    throw error;
  }
}
