/** AdamW (Loshchilov & Hutter, arXiv:1711.05101); its arithmetic is in ops/adamw. */
import { z } from "zod";
import { adamwStep } from "../../ops/adamw/index.ts";
import type { Parameter, Runtime } from "../../tensor/index.ts";
import {
  assembleOptimizer,
  cautiousKey,
  type DecaySettings,
  type Optimizer,
  type OptimizerDefinition,
  optimizerKeys,
  zeros,
} from "./optimizer.ts";

export interface AdamWSettings extends DecaySettings {
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.95. */
  beta2?: number;
  /** Default 1e-8. */
  eps?: number;
  /** Default false. */
  cautious?: boolean;
}

/** Keys of AdamW and its relatives. */
export const adamwKeys = {
  ...optimizerKeys,
  ...cautiousKey,
  /** Decay of the running mean of the gradient. */
  beta1: z.number().min(0).lt(1),
  /** Decay of the running mean of its square. */
  beta2: z.number().min(0).lt(1),
  /** Added to the root of the running square. */
  eps: z.number().positive(),
};

export const adamwDefaults = { beta1: 0.9, beta2: 0.95, eps: 1e-8, cautious: false };

/** State: m.<name> and v.<name>. Call outside scopes. */
export function createAdamW(
  runtime: Runtime,
  parameters: readonly Parameter[],
  settings: AdamWSettings = {},
): Optimizer {
  const { beta1, beta2, eps, cautious } = { ...adamwDefaults, ...settings };
  return assembleOptimizer(parameters, settings, {
    kind: "adamw",
    prefixes: ["m", "v"],
    createState: ({ shape }) => ({ m: zeros(runtime, shape), v: zeros(runtime, shape) }),
    update({ tensor, gradient }, { m, v }, values, step) {
      const arrays = { weight: tensor, gradient, m, v };
      adamwStep(runtime.plainContext(), arrays, { ...values, beta1, beta2, eps, step, cautious });
    },
  });
}

const schema = z.strictObject({ kind: z.literal("adamw"), ...adamwKeys });

export const adamw = {
  kind: "adamw",
  stateLabel: "AdamW's moments",
  schema,
  defaults: adamwDefaults,
  create: createAdamW,
  stateBytes: (_config, { count }) => 8 * count,
} as const satisfies OptimizerDefinition<{ kind: "adamw" } & AdamWSettings>;
