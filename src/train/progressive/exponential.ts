/**
 * lambda = 1 - (1 - t)^k ("Fine-tuning LLMs to 1.58bit", Hugging Face 2024): k above 1 rises fast and ends slowly, k below 1
 * the other way round.
 */
import { z } from "zod";
import { type ProgressiveDefinition, type RampConfig, ramp, rampDefaults, rampKeys } from "./progressive.ts";

export const exponential = {
  kind: "exponential",
  schema: z.strictObject({ kind: z.literal("exponential"), ...rampKeys, k: z.number().positive() }),
  defaults: { ...rampDefaults, k: 4 },
  create: (config, run) => ramp(config, run, (t) => 1 - (1 - t) ** config.k),
} as const satisfies ProgressiveDefinition<{ kind: "exponential"; k: number } & RampConfig>;
