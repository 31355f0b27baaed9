/**
 * A pull of the latent weights to their grid now and then (WinQ, arXiv:2605.17471): behind every so many steps,
 *
 *   w <- (1 - alpha) · w + alpha · Q(w)
 *
 * of every ternary layer that trains. Nothing is drawn or kept: a run that goes on pulls at the same steps. The paper's best alpha
 * is 0.4, a quarter of the run apart; its code's `alpha 0.2` is the share of w that is kept. The pull in every step, by the
 * gradient, is the objective `proximal`.
 */
import { z } from "zod";
import { rampWeights } from "../../ops/quant-ramp/index.ts";
import { gather } from "../../ops/weighted-sum/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { defineCallback } from "./callback.ts";

export const gridPull = defineCallback({
  name: "grid-pull",
  options: {
    /** Steps from one pull to the next. */
    every: z.int().positive(),
    /** The share of Q(w) in the pulled weights. */
    alpha: z.number().gt(0).max(1).default(0.4),
  },
  create: ({ every, alpha }) => ({
    name: "grid-pull",
    on(event, { model, runtime, steps }) {
      const { ternaryLayers } = model;
      if (event.type === "start") {
        if (ternaryLayers.length === 0)
          throw new UsageError("grid-pull is of ternary weights, and this model has none; leave it out");
        if (every > steps)
          throw new UsageError(`grid-pull: every is ${every}, and the run has ${steps} steps; it would never pull`);
      }
      if (event.type !== "step" || event.step % every !== 0) return;
      for (const layer of ternaryLayers) {
        const { weight } = layer;
        if (weight.frozen) continue;
        const { codes, scale } = layer.quantized(runtime);
        const [pulled] = runtime.detached(rampWeights, [weight.tensor, codes, scale], { lambda: alpha });
        gather(runtime.plainContext(), [pulled], weight.tensor);
        pulled.dispose();
        weight.changed();
      }
    },
  }),
});
