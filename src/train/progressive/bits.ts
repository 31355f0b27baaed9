/**
 * Falling bits: the weights of ternary layers are rounded to fewer and fewer levels, then to three. A stage of b bits has
 * 2^b - 1 levels with one scale for each row (ops/row-quant) and a straight-through gradient; activations are quantized as
 * ever, all along. BitCPM4 (arXiv:2506.07900) goes by way of 8 bits; more levels first helped at small scale too (nine levels,
 * then ternary: one unreviewed note).
 */
import { z } from "zod";
import type { WeightStandIn } from "../../nn/index.ts";
import { rowQuant } from "../../ops/row-quant/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { type Moment, momentSchema, type ProgressiveDefinition, stepsOf, wholly } from "./progressive.ts";

const rounded = (bits: number): WeightStandIn => ({
  weights: (runtime, { weight }) => runtime.apply(rowQuant, [weight.tensor], { bits }),
});

export const bits = {
  kind: "bits",
  schema: z.strictObject({
    kind: z.literal("bits"),
    /** In their order; behind the last the weights are ternary. */
    stages: z.array(z.strictObject({ bits: z.int().min(2).max(8), until: momentSchema })).min(1),
  }),
  defaults: {
    stages: [
      { bits: 8, until: "15%" },
      { bits: 4, until: "30%" },
    ],
  },
  create(config, run) {
    const stages = config.stages.map(({ bits, until }) => ({ bits, until, end: stepsOf(until, run) }));
    for (const [i, { bits, until, end }] of stages.entries()) {
      const before = stages[i - 1];
      if (before && (end < before.end || bits >= before.bits))
        throw new UsageError(
          `train.progressive.stages: ${bits} bits until ${until} (${end} steps) follow ${before.bits} bits until ${before.until} (${before.end} steps); order them by falling bits and rising "until"`,
        );
    }
    const quantizations = stages.map(({ bits }) => ({ lambda: 1, standIn: rounded(bits) }));
    return {
      at(step) {
        const now = stages.findIndex(({ end }) => step - 1 < end);
        const all = now < 0 ? wholly : quantizations[now];
        // log2 3: what a ternary weight holds.
        return { of: () => all, metrics: { quant_bits: now < 0 ? Math.log2(3) : stages[now].bits } };
      },
    };
  },
} as const satisfies ProgressiveDefinition<{ kind: "bits"; stages: { bits: number; until: Moment }[] }>;
