/**
 * What objectives on weights share: a penalty of each ternary layer, added up. No forward pass is made for them, and their
 * value is the same for every micro-batch. Called by the objectives beside this file.
 */
import { z } from "zod";
import { weightedSum } from "../../ops/weighted-sum/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { matching } from "../../platform/patterns.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import type { TernaryLayer, TrainableModel } from "../trainable-model.ts";
import type { Objective, ObjectiveContext } from "./objective.ts";

export const layersOption = {
  /** Of the ternary layers, those that a pattern names; all of them by default. */
  layers: z.string().min(1).default("*"),
};

export const penaltyOptions = {
  ...layersOption,
  /** sum: over all weights of these layers, as in the sources; mean: that, divided by the number of weights. */
  reduce: z.enum(["sum", "mean"]).default("sum"),
};

/**
 * @param penalty [1], the sum over one layer's weights, or a value of the layer
 * @param reduce  sum, mean over all weights, or mean over the layers
 * @throws UsageError for a model without ternary layers, and for a pattern that names none
 */
export function weightObjective(
  name: string,
  { model }: Pick<ObjectiveContext, "model">,
  { layers, reduce }: { layers: string; reduce: "sum" | "mean" | "layers" },
  penalty: (runtime: Runtime, layer: TernaryLayer) => Tensor,
): Objective {
  const chosenOf = ({ ternaryLayers }: TrainableModel): TernaryLayer[] => {
    const all = ternaryLayers.map((layer) => ({ name: layer.weight.name, layer }));
    if (all.length === 0)
      throw new UsageError(
        `train.objectives: "${name}" is of ternary weights, and this model has none; leave it out, or train a model that has`,
      );
    return matching(`train.objectives: layers of "${name}"`, layers, all).map(({ layer }) => layer);
  };
  chosenOf(model);
  return {
    name,
    loss(model, _batch, { runtime }) {
      const chosen = chosenOf(model);
      const weights = chosen.reduce((sum, { weight }) => sum + weight.size, 0);
      const factor = reduce === "sum" ? 1 : 1 / (reduce === "mean" ? weights : chosen.length);
      const penalties = chosen.map((layer) => penalty(runtime, layer));
      return { loss: runtime.apply(weightedSum, penalties, { weights: chosen.map(() => factor) }) };
    },
  };
}
