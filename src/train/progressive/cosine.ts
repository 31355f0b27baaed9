/** lambda = (1 - cos(pi t)) / 2: slow at both ends. */
import { z } from "zod";
import { type ProgressiveDefinition, type RampConfig, ramp, rampDefaults, rampKeys } from "./progressive.ts";

export const cosine = {
  kind: "cosine",
  schema: z.strictObject({ kind: z.literal("cosine"), ...rampKeys }),
  defaults: rampDefaults,
  create: (config, run) => ramp(config, run, (t) => (1 - Math.cos(Math.PI * t)) / 2),
} as const satisfies ProgressiveDefinition<{ kind: "cosine" } & RampConfig>;
