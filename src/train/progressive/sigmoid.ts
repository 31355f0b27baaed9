/**
 * lambda = (f(t) - f(0)) / (f(1) - f(0)) with f(t) = 1 / (1 + e^(-k (t - 1/2))): slow at both ends, the steeper in the
 * middle the larger k. "Fine-tuning LLMs to 1.58bit" (Hugging Face 2024) takes f itself, which begins above 0 and never
 * reaches 1; here it is stretched to both.
 */
import { z } from "zod";
import { type ProgressiveDefinition, type RampConfig, ramp, rampDefaults, rampKeys } from "./progressive.ts";

export const sigmoid = {
  kind: "sigmoid",
  schema: z.strictObject({ kind: z.literal("sigmoid"), ...rampKeys, k: z.number().positive() }),
  defaults: { ...rampDefaults, k: 10 },
  create(config, run) {
    const f = (t: number) => 1 / (1 + Math.exp(-config.k * (t - 0.5)));
    const [low, high] = [f(0), f(1)];
    return ramp(config, run, (t) => (f(t) - low) / (high - low));
  },
} as const satisfies ProgressiveDefinition<{ kind: "sigmoid"; k: number } & RampConfig>;
