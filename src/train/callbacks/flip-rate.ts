/**
 * Flip-rate control: the learning rate of the ternary layers follows how many of their codes change ("transition rate
 * scheduling", Lee et al., arXiv:2404.19248, for vision models of 1 to 4 bits). At each step s of N with k the share of codes
 * that its update changed, from step S = round(start N) on:
 *
 *   K = 0.99 K + 0.01 k          corrected for its start at zero: K' = K / (1 - 0.99^t)
 *   R = R0 (1 + cos(π (s - S) / (N - S))) / 2
 *   U = min(max(0, U + eta (R - K')), maxScale)
 *
 * U, 1 at the start, multiplies the schedule's learning rate for those layers alone. R0 is `target`, or what K' is at S. Here
 * the paper's learning rate, which U stands for, is relative to the schedule's, and has an upper end.
 */
import { z } from "zod";
import { ternaryStats, ternaryStatsPerSlot } from "../../ops/ternary-stats/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Tensor } from "../../tensor/index.ts";
import type { Training } from "../events.ts";
import { layerNameOf } from "../lambda.ts";
import { defineCallback } from "./callback.ts";

export interface FlipControlOptions {
  start: number;
  target: number | "measured";
  eta: number;
  momentum: number;
  maxScale: number;
}

interface State {
  /** K, and the weight that it lacks. */
  mean: number;
  missing: number;
  /** U. */
  scale: number;
  /** R0; null before S. */
  target: number | null;
}

/** The controller alone: shares of changed codes in, scales of the learning rate out. */
export function flipControl({ start, target, eta, momentum, maxScale }: FlipControlOptions) {
  let state: State = { mean: 0, missing: 1, scale: 1, target: null };
  return {
    /** @returns K', U, and R where it is under control */
    step(k: number, step: number, steps: number): { mean: number; scale: number; target: number | null } {
      state.mean = momentum * state.mean + (1 - momentum) * k;
      state.missing *= momentum;
      const mean = state.mean / (1 - state.missing);
      const first = Math.round(start * steps);
      if (step < first) return { mean, scale: state.scale, target: null };
      state.target ??= target === "measured" ? mean : target;
      const progress = steps > first ? Math.min(1, (step - first) / (steps - first)) : 1;
      const wanted = (state.target * (1 + Math.cos(Math.PI * progress))) / 2;
      state.scale = Math.min(Math.max(0, state.scale + eta * (wanted - mean)), maxScale);
      return { mean, scale: state.scale, target: wanted };
    },
    state: (): State => ({ ...state }),
    restore(saved: State): void {
      state = { ...saved };
    },
  };
}

export const flipRate = defineCallback({
  name: "flip-rate",
  options: {
    /** Share of the run after which the rate is controlled; before it is only measured. */
    start: z.number().min(0).lt(1).default(0.5),
    /** R0: share of the codes that change in a step, when control begins. */
    target: z.union([z.number().min(0).max(1), z.literal("measured")]).default("measured"),
    /** How much the scale moves in a step for each unit of difference. */
    eta: z.number().positive().default(1),
    /** Share of the old value in the running mean K. */
    momentum: z.number().min(0).lt(1).default(0.99),
    /** The highest scale of the schedule's learning rate. */
    maxScale: z.number().positive().default(2),
  },
  create(options) {
    const control = flipControl(options);
    // A layer makes new codes when its weights change and lets go of the old: holding those costs no copy.
    let before: (Tensor | null)[] = [];
    const release = () => {
      for (const codes of before) codes?.storage.release();
      before = [];
    };
    const hold = ({ runtime, model }: Training) =>
      model.ternaryLayers.map((layer) => {
        if (layer.weight.frozen) return null;
        const { codes } = layer.quantized(runtime);
        codes.storage.retain();
        return codes;
      });

    async function measure({ runtime, model, log }: Training): Promise<number> {
      const layers = model.ternaryLayers;
      const into = runtime.upload([layers.length * ternaryStatsPerSlot], "i32", new Int32Array(4 * layers.length));
      let flipped = 0;
      let total = 0;
      const byLayer: Record<string, { flip_rate: number }> = {};
      try {
        for (const [i, layer] of layers.entries())
          if (before[i]) ternaryStats(runtime.plainContext(), layer.quantized(runtime).codes, before[i], into, i);
        const counts = await runtime.read(into);
        for (const [i, { weight }] of layers.entries()) {
          if (!before[i]) continue;
          const changed = counts[i * ternaryStatsPerSlot + 3];
          byLayer[layerNameOf(weight)] = { flip_rate: changed / weight.size };
          flipped += changed;
          total += weight.size;
        }
      } finally {
        into.dispose();
      }
      const share = total === 0 ? 0 : flipped / total;
      log({ flip_rate: share }, byLayer);
      return share;
    }

    return {
      name: "flip-rate",
      beforeMetrics: true,
      async on(event, training) {
        if (event.type === "start" && training.model.ternaryLayers.length === 0)
          throw new UsageError(
            "train.callbacks: flip-rate is for ternary layers, and this model has none; leave it out",
          );
        if (event.type === "gradients") {
          release();
          before = hold(training);
        }
        if (event.type !== "step" || event.skipped) return;
        const share = await measure(training);
        release();
        const { mean, scale, target } = control.step(share, event.step, training.steps);
        if (target !== null) training.controls.scaleLearningRate("role:ternary", scale);
        training.log({
          flip_rate_mean: mean,
          flip_rate_scale: scale,
          ...(target === null ? {} : { flip_rate_target: target }),
        });
      },
      state: control.state,
      restore: (saved) => control.restore(saved as State),
      close: release,
    };
  },
});
