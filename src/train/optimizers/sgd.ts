/** Gradient descent with momentum; its arithmetic is in ops/sgd. */
import { z } from "zod";
import { sgdStep } from "../../ops/sgd/index.ts";
import type { Parameter, Runtime, Tensor } from "../../tensor/index.ts";
import {
  assembleOptimizer,
  cautiousKey,
  type DecaySettings,
  type Optimizer,
  type OptimizerDefinition,
  optimizerKeys,
  zeros,
} from "./optimizer.ts";

export interface SgdSettings extends DecaySettings {
  /** Default 0: no state. */
  momentum?: number;
  /** Default false. */
  cautious?: boolean;
}

/** State: momentum.<name>, none where the momentum is 0. Call outside scopes. */
export function createSgd(runtime: Runtime, parameters: readonly Parameter[], settings: SgdSettings = {}): Optimizer {
  const { momentum = 0, cautious = false } = settings;
  return assembleOptimizer<{ momentum?: Tensor }>(parameters, settings, {
    kind: "sgd",
    prefixes: ["momentum"],
    createState: ({ shape }) => (momentum === 0 ? {} : { momentum: zeros(runtime, shape) }),
    update({ tensor, gradient }, state, values) {
      const arrays = { weight: tensor, gradient, momentum: state.momentum ?? null };
      sgdStep(runtime.plainContext(), arrays, { ...values, momentum, cautious });
    },
  });
}

const schema = z.strictObject({
  kind: z.literal("sgd"),
  ...optimizerKeys,
  ...cautiousKey,
  /** Share of the last update that carries over. */
  momentum: z.number().min(0).lt(1),
});

export const sgd = {
  kind: "sgd",
  stateLabel: "SGD's momentum",
  schema,
  defaults: { momentum: 0.9, cautious: false },
  create: createSgd,
  stateBytes: ({ momentum = 0 }, { count }) => (momentum === 0 ? 0 : 4 * count),
} as const satisfies OptimizerDefinition<{ kind: "sgd" } & SgdSettings>;
