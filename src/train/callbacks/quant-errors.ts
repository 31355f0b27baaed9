/**
 * Error measures of every ternary layer for the lines of metrics/scalars.jsonl: one launch for each layer into slots of one
 * buffer, one read for all. Flips, oscillation and drift are against the last measurement of this process. Nothing of it is
 * saved or decides anything. Called by metrics.ts; docs/analysis.md defines the keys.
 */
import {
  type QuantErrorMeasures,
  quantError,
  quantErrorMeasures,
  quantErrorPerSlot,
  quantErrorSums,
} from "../../ops/quant-error/index.ts";
import { gather } from "../../ops/weighted-sum/index.ts";
import type { Tensor } from "../../tensor/index.ts";
import type { Training } from "../events.ts";
import { layerNameOf } from "../lambda.ts";

/** A layer's keys in a line, and the measures that they show. */
const keys: readonly [key: string, measure: keyof QuantErrorMeasures][] = [
  ["mse", "mse"],
  ["sqnr_db", "sqnrDb"],
  ["cosine", "cosine"],
  ["normalized_error", "normalizedError"],
  ["pearson", "pearson"],
  ["minus", "minus"],
  ["zero", "zero"],
  ["plus", "plus"],
  ["entropy_bits", "entropyBits"],
  ["dead_zone", "deadZone"],
  ["near_threshold", "nearThreshold"],
  ["saturated", "saturated"],
  ["kurtosis", "kurtosis"],
  ["largest", "largest"],
];

export type LayerErrors = Record<string, Record<string, number | null>>;

/** @param drift whether to keep a copy of the weights, 4 bytes each, and measure how far they moved */
export function quantErrors({ drift }: { drift: boolean }) {
  /** Codes of the last measurement and of the one before; holding them costs no copy, as layers make new ones. */
  let previous: Tensor[] = [];
  let before: Tensor[] = [];
  let kept: Tensor[] = [];
  let scales: ArrayLike<number> = [];
  let since = 0;

  const release = (held: readonly Tensor[]) => {
    for (const codes of held) codes.storage.release();
  };
  const hold = ({ runtime, model }: Training): Tensor[] =>
    model.ternaryLayers.map((layer) => {
      const { codes } = layer.quantized(runtime);
      codes.storage.retain();
      return codes;
    });

  /** Sums of every layer, and the scales. */
  async function pass(training: Training, now: readonly Tensor[], fresh: boolean) {
    const { runtime, model } = training;
    const layers = model.ternaryLayers;
    const into = runtime.empty([layers.length * quantErrorPerSlot]);
    const gammas = runtime.empty([layers.length]);
    try {
      for (const [slot, layer] of layers.entries()) {
        const { scale } = layer.quantized(runtime);
        const inputs = {
          w: layer.weight.tensor,
          codes: now[slot],
          scale,
          previous: previous[slot],
          before: before[slot],
        };
        quantError(runtime.plainContext(), { ...inputs, kept: kept[slot] }, { into, slot, fresh });
      }
      gather(
        runtime.plainContext(),
        layers.map((layer) => layer.quantized(runtime).scale),
        gammas,
      );
      return await Promise.all([runtime.readFloats(into), runtime.readFloats(gammas)]);
    } finally {
      into.dispose();
      gammas.dispose();
    }
  }

  return {
    /** What later measurements are against: the weights as they are now. */
    async start(training: Training, step: number): Promise<void> {
      const { runtime, model } = training;
      if (model.ternaryLayers.length === 0) return;
      release(previous);
      release(before);
      [previous, before] = [[], []];
      if (drift && kept.length === 0)
        kept = model.ternaryLayers.map(({ weight }) => runtime.empty(weight.tensor.shape));
      const now = hold(training);
      [, scales] = await pass(training, now, true);
      previous = now;
      since = step;
    },
    async measure(training: Training, step: number): Promise<{ since: number; layers: LayerErrors } | null> {
      const { model } = training;
      if (model.ternaryLayers.length === 0) return null;
      const now = hold(training);
      const [read, gammas] = await pass(training, now, false);
      const layers: LayerErrors = {};
      for (const [i, { weight }] of model.ternaryLayers.entries()) {
        const sums = quantErrorSums(read, i);
        const measures = quantErrorMeasures(sums, weight.size, gammas[i]);
        layers[layerNameOf(weight)] = Object.fromEntries([
          ...keys.map(([key, measure]) => [key, digits(measures[measure])]),
          ["flip_share", digits(sums.flipped / weight.size)],
          ["oscillation_share", before.length > 0 ? digits(sums.oscillated / weight.size) : null],
          ["scale_drift", digits(gammas[i] / scales[i] - 1)],
          ...(drift ? [["weight_drift", digits(Math.sqrt(sums.moved / sums.keptSquares))]] : []),
        ]);
      }
      release(before);
      [before, previous, scales] = [previous, now, gammas];
      const result = { since, layers };
      since = step;
      return result;
    },
    close(): void {
      release(previous);
      release(before);
      for (const tensor of kept) tensor.dispose();
      [previous, before, kept] = [[], [], []];
    },
  };
}

const digits = (value: number | null): number | null =>
  value === null || !Number.isFinite(value) ? null : Number(value.toPrecision(6));
