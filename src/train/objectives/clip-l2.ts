/**
 * L2 of the learned clips of PACT (arXiv:1805.06085): 1/2 · sum a² over the layers that learn one. Without it a clip grows until it
 * masks nothing.
 */
import { inputClip } from "../../nn/index.ts";
import { weightPenalty } from "../../ops/weight-penalty/index.ts";
import { weightedSum } from "../../ops/weighted-sum/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Parameter } from "../../tensor/index.ts";
import type { TrainableModel } from "../trainable-model.ts";
import { defineObjective } from "./objective.ts";

function clipsOf({ parameters }: TrainableModel): Parameter[] {
  const clips = parameters.filter(({ name }) => name.endsWith(`.${inputClip}`));
  if (clips.length > 0) return clips;
  throw new UsageError(
    'train.objectives: "clip-l2" is of learned clips, and this model has none; set model.quantization.activations to pact8 or pact4',
  );
}

export const clipL2 = defineObjective({
  name: "clip-l2",
  create(_options, context) {
    clipsOf(context.model);
    return {
      name: "clip-l2",
      loss(model, _batch, { runtime }) {
        // The pull to a grid whose level, of code 1, is 0.
        const [zero, scale] = [
          runtime.upload([1], "u8", Uint8Array.of(1)),
          runtime.upload([1], "f32", Float32Array.of(1)),
        ];
        const halves = clipsOf(model).map(({ tensor }) =>
          runtime.apply(weightPenalty, [tensor, zero, scale], { kind: "proximal" }),
        );
        return { loss: runtime.apply(weightedSum, halves, { weights: halves.map(() => 1) }) };
      },
    };
  },
});
