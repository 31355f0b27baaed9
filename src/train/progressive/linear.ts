/** lambda = t ("Fine-tuning LLMs to 1.58bit", Hugging Face 2024: warm-up quantization). ../progressive.ts makes the older key this. */
import { z } from "zod";
import { type ProgressiveDefinition, type RampConfig, ramp, rampDefaults, rampKeys } from "./progressive.ts";

export const linear = {
  kind: "linear",
  schema: z.strictObject({ kind: z.literal("linear"), ...rampKeys }),
  defaults: rampDefaults,
  create: (config, run) => ramp(config, run),
} as const satisfies ProgressiveDefinition<{ kind: "linear" } & RampConfig>;
