/**
 * What the quantizers with a learned scale share (learned, lsq, seq): one parameter `weight_scale` for the matrix, begun by the
 * weights, and its gradient. Their rules are in ops/learned-scale. Called by the files beside this one.
 */
import { z } from "zod";
import {
  type LearnedScaleParams,
  learnedScaleGradient,
  learnedScaleQuant,
  leastScale,
  type ScaleRule,
} from "../../ops/learned-scale/index.ts";
import type { Op } from "../../ops/op.ts";
import type { TernaryQuantizer } from "./quantizer.ts";

export interface LearnedScaleSettings {
  initial: number | "max";
  gradientScale: number | null;
}

/** @param initial of the scale, times mean|w| */
export function learnedScale(name: string, rule: ScaleRule, initial: number): TernaryQuantizer<LearnedScaleSettings> {
  const op = learnedScaleGradient as Op<LearnedScaleParams>;
  return {
    name,
    form: "ternary",
    schema: z.strictObject({
      /** The scale that a run begins with: times mean|w| of the layer's weights; max: max|w|. */
      initial: z.union([z.number().positive(), z.literal("max")]).default(initial),
      /** Multiplies the gradient of the scale; null: 1 / sqrt(N · K). */
      gradientScale: z.number().positive().nullable().default(null),
    }),
    parameters: ({ initial: start }) => [
      { name: "weight_scale", shape: [1], initial: (weights) => Float32Array.of(startOf(weights, start)) },
    ],
    quantize(runtime, w, _settings, _model, learned) {
      const [codes, scale] = runtime.detached(learnedScaleQuant, [w, learned[0]], { levels: rule.levels });
      return { codes, scale };
    },
    gradient: {
      name: op.name,
      forward: (cx, inputs, settings) => op.forward(cx, inputs, { ...rule, ...settings }),
      backward: (cx, saved, gradients, settings) => op.backward!(cx, saved, gradients, { ...rule, ...settings }),
    },
  };
}

function startOf(weights: Float32Array, initial: number | "max"): number {
  let sum = 0;
  let largest = 0;
  for (const weight of weights) {
    const magnitude = Math.abs(weight);
    sum += magnitude;
    largest = Math.max(largest, magnitude);
  }
  return Math.max(initial === "max" ? largest : (initial * sum) / weights.length, leastScale);
}
