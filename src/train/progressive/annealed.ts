/**
 * Annealed soft forward (Hestia, arXiv:2601.20745, without its scaling of the temperature by sensitivity): the weights of
 * ternary layers are w + lambda (Q(w) - w) with the soft quantizer Q of ops/soft-ternary, whose gradient is exact. lambda
 * rises on a line to 1 at `mixed`; from there the temperature falls from its start to 0 at `end` by a cosine,
 *
 *   tau = T (1 + cos(pi u)) / 2,   u = the progress from `mixed` to `end`
 *
 * and at 0 the layers are ternary as ever, with their estimator. Activations are quantized by lambda, and whole from `mixed` on.
 */
import { z } from "zod";
import type { WeightStandIn } from "../../nn/index.ts";
import { softTernary } from "../../ops/soft-ternary/index.ts";
import { type Moment, momentSchema, type ProgressiveDefinition, progressOf, wholly } from "./progressive.ts";

const softened = (temperature: number): WeightStandIn => ({
  weights(runtime, layer) {
    const { scale } = layer.quantized(runtime);
    const { lambda, spec } = layer;
    const quantizer = spec.weights?.quantizer;
    // What moves the mean of |w| moves absmean's scale; that of other quantizers counts as a constant.
    const throughScale = quantizer?.form === "ternary" && quantizer.isAbsmean === true;
    return runtime.apply(softTernary, [layer.weight.tensor, scale], { temperature, lambda, throughScale });
  },
});

export const annealed = {
  kind: "annealed",
  schema: z.strictObject({
    kind: z.literal("annealed"),
    /** rho: lambda reaches 1 there, and the temperature begins to fall. */
    mixed: momentSchema,
    /** The temperature reaches 0 there. */
    end: momentSchema,
    /** T, in units of the squared scale. */
    temperature: z.number().positive(),
  }),
  defaults: { mixed: "30%", end: "100%", temperature: 1 },
  create({ mixed, end, temperature }, run) {
    const mixing = progressOf({ start: 0, end: mixed }, run, { start: "0", end: "mixed" });
    const cooling = progressOf({ start: mixed, end }, run, { start: "mixed", end: "end" });
    return {
      at(step) {
        const u = cooling(step);
        if (u >= 1) return { of: () => wholly, metrics: { quant_temperature: 0 } };
        const tau = (temperature * (1 + Math.cos(Math.PI * u))) / 2;
        const all = { lambda: mixing(step), standIn: softened(tau) };
        return { of: () => all, metrics: { quant_temperature: tau } };
      },
    };
  },
} as const satisfies ProgressiveDefinition<{
  kind: "annealed";
  mixed: Moment;
  end: Moment;
  temperature: number;
}>;
