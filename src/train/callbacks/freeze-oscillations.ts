/**
 * Freezes ternary weights that oscillate (Nagel et al., "Overcoming Oscillations in Quantization-Aware Training",
 * arXiv:2203.11086): after each update the codes are compared with those before it; a weight whose code turns back on its last
 * change oscillates; when its running frequency is over a threshold, the weight stays for good at the code where it was on
 * average. ops/oscillation has the formula and the kernel.
 *
 * The threshold goes from `from` down to `to` on a cosine, from the share `start` of the run to its end: early, weights still
 * find their place. Nine bytes are kept of each ternary weight, and saved with the run.
 */
import { z } from "zod";
import { fill } from "../../ops/fill/index.ts";
import { oscillationCounts, startOscillation, trackOscillation } from "../../ops/oscillation/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Tensor } from "../../tensor/index.ts";
import type { StepEvent, Training } from "../events.ts";
import { layerNameOf } from "../lambda.ts";
import type { NamedTensor } from "../optimizers.ts";
import { defineCallback } from "./callback.ts";

interface LayerState {
  flags: Tensor;
  frequency: Tensor;
  mean: Tensor;
}

/** Infinite before `start`: codes are tracked, and nothing is fixed. */
export function freezingThreshold(
  { from, to, start }: { from: number; to: number; start: number },
  step: number,
  steps: number,
): number {
  const first = Math.round(start * steps);
  if (step < first) return Number.POSITIVE_INFINITY;
  const progress = steps > first ? Math.min(1, (step - first) / (steps - first)) : 1;
  return to + ((from - to) * (1 + Math.cos(Math.PI * progress))) / 2;
}

export const freezeOscillations = defineCallback({
  name: "freeze-oscillations",
  options: {
    /** Threshold of the frequency at the beginning and at the end; an oscillation adds `momentum` to it. */
    from: z.number().min(0).max(1).default(0.1),
    to: z.number().min(0).max(1).default(0.01),
    /** Share of the run before which nothing is frozen. */
    start: z.number().min(0).lt(1).default(0),
    /** Weight of a step in the running means of frequency and code. */
    momentum: z.number().positive().max(1).default(0.01),
  },
  create(options) {
    let states: LayerState[] | null = null;

    function make({ runtime, model }: Pick<Training, "runtime" | "model">): LayerState[] {
      if (model.ternaryLayers.length === 0)
        throw new UsageError(
          "train.callbacks: freeze-oscillations is for ternary layers, and this model has none; leave it out",
        );
      // Codes that stand for several updates would count as many looks at one code, and be made anew out of turn.
      const every = model.ternaryLayers[0].spec?.requantizeEvery ?? 1;
      if (every > 1)
        throw new UsageError(
          `train.callbacks: freeze-oscillations looks at the codes after each update, and model.requantizeEvery is ${every}; set it to 1`,
        );
      return model.ternaryLayers.map((layer) => {
        const { shape } = layer.weight;
        const state = {
          flags: runtime.empty(shape, "u8"),
          frequency: runtime.empty(shape),
          mean: runtime.empty(shape),
        };
        const cx = runtime.plainContext();
        fill(cx, state.frequency, 0);
        startOscillation(cx, layer.quantized(runtime).codes, state);
        return state;
      });
    }

    async function track(event: StepEvent, { runtime, model, steps, log }: Training): Promise<void> {
      const layers = model.ternaryLayers;
      const threshold = freezingThreshold(options, event.step, steps);
      const zeros = new Int32Array(layers.length * oscillationCounts);
      const into = runtime.upload([zeros.length], "i32", zeros);
      const totals = { weights: 0, changed: 0, oscillated: 0, fixed: 0 };
      const byLayer: Record<string, { flip_rate: number; frozen_share: number }> = {};
      try {
        // What a run has frozen as a whole stays as it is, to the bit.
        const tracked = layers.map(({ weight }) => !weight.frozen);
        for (const [slot, layer] of layers.entries()) {
          if (!tracked[slot]) continue;
          const matrix = { weight: layer.weight.tensor, ...layer.quantized(runtime) };
          const { momentum } = options;
          trackOscillation(runtime.plainContext(), matrix, states![slot], { momentum, threshold, into, slot });
        }
        const counts = await runtime.read(into);
        for (const [slot, { weight }] of layers.entries()) {
          if (!tracked[slot]) continue;
          const [changed, oscillated, fixed] = counts.subarray(slot * oscillationCounts);
          if (fixed > 0) weight.changed();
          byLayer[layerNameOf(weight)] = { flip_rate: changed / weight.size, frozen_share: fixed / weight.size };
          totals.weights += weight.size;
          totals.changed += changed;
          totals.oscillated += oscillated;
          totals.fixed += fixed;
        }
      } finally {
        into.dispose();
      }
      if (totals.weights === 0) return;
      const share = (count: number) => count / totals.weights;
      log(
        {
          flip_rate: share(totals.changed),
          oscillation_rate: share(totals.oscillated),
          frozen_share: share(totals.fixed),
        },
        byLayer,
      );
    }

    return {
      name: "freeze-oscillations",
      beforeMetrics: true,
      async on(event, training) {
        if (event.type === "start") states ??= make(training);
        if (event.type === "step" && !event.skipped) await track(event, training);
      },
      // All of it is in the tensors; without a word here they would not be taken back (train.ts).
      state: () => ({}),
      restore() {},
      tensors(parts): NamedTensor[] {
        states ??= make(parts);
        return parts.model.ternaryLayers.flatMap(({ weight }, i) =>
          Object.entries(states![i]).map(([name, tensor]) => ({ name: `${name}.${weight.name}`, tensor })),
        );
      },
      close() {
        for (const state of states ?? []) for (const tensor of Object.values(state) as Tensor[]) tensor.dispose();
        states = null;
      },
    };
  },
});
