/**
 * What the inputs of a model's linear layers are like: sizes and their percentiles, kurtosis, and what rounding each token to
 * int8 by its largest (absmax8) loses. Two passes over the sample: the second counts sizes in equal bins, for thresholds.
 */
import type { Transformer } from "../../model/index.ts";
import { activationEps } from "../../ops/activation-quant/index.ts";
import { roundHalfEven } from "../../quant/rounding.ts";
import type { Sample } from "../sample.ts";
import { EqualHistogram, ValueCounter, type ValueStatistics } from "./histogram.ts";
import { observeInputs } from "./inputs.ts";

export interface InputStatistics extends ValueStatistics {
  /** Full names of the layers that read this input. */
  layers: string[];
  /** K */
  width: number;
  /** Of each token, its largest size over its root mean square: mean, and the most of any. */
  peakToRms: { mean: number; most: number };
  /** SQNR of absmax8: 10 log10(sum x² / sum (x - Q(x))²), in dB, over all values; null where nothing is lost. */
  sqnrDb: number | null;
  /** The same of each token by itself: the least, the 1st percentile, the middle one. null for tokens that lose nothing. */
  tokenSqnrDb: { least: number | null; first: number | null; median: number | null };
}

export interface ObservedInput {
  statistics: InputStatistics;
  histogram: EqualHistogram;
  /** The 99.99th percentile of the sizes. */
  percentile: number;
}

/** @param model of a config without activation quantizers */
export async function observeStatistics(
  model: Transformer,
  sample: Sample,
  { percentile, signal }: { percentile: number; signal?: AbortSignal },
): Promise<ObservedInput[]> {
  const counters = new Map<string, Counter>();
  await observeInputs(
    model,
    sample,
    ({ layers, width, values }) => {
      const key = layers[0];
      const counter = counters.get(key) ?? new Counter(layers, width);
      counters.set(key, counter);
      counter.add(values);
    },
    signal,
  );
  const histograms = new Map([...counters].map(([key, { values }]) => [key, new EqualHistogram(values.absmaxNow)]));
  await observeInputs(model, sample, ({ layers, values }) => histograms.get(layers[0])!.add(values), signal);
  return [...counters].map(([key, counter]) => ({
    statistics: counter.statistics(),
    histogram: histograms.get(key)!,
    percentile: counter.values.percentile(percentile),
  }));
}

/** One layer's input. */
class Counter {
  readonly values = new ValueCounter();
  private readonly peaks: number[] = [];
  private readonly tokens: number[] = [];
  private signal = 0;
  private noise = 0;

  constructor(
    private readonly layers: string[],
    private readonly width: number,
  ) {}

  add(values: Float32Array): void {
    this.values.add(values);
    for (let at = 0; at < values.length; at += this.width) {
      const { signal, noise, peak } = roundingOf(values.subarray(at, at + this.width));
      this.signal += signal;
      this.noise += noise;
      this.peaks.push(peak);
      this.tokens.push(decibels(signal, noise));
    }
  }

  statistics(): InputStatistics {
    const { layers, width, peaks } = this;
    const tokens = this.tokens.sort((a, b) => a - b);
    const at = (share: number) => finite(tokens[Math.min(tokens.length - 1, Math.floor(share * tokens.length))]);
    return {
      layers,
      width,
      ...this.values.statistics(),
      peakToRms: {
        mean: peaks.reduce((a, b) => a + b, 0) / peaks.length,
        most: peaks.reduce((a, b) => Math.max(a, b), 0),
      },
      sqnrDb: finite(decibels(this.signal, this.noise)),
      tokenSqnrDb: { least: at(0), first: at(0.01), median: at(0.5) },
    };
  }
}

const decibels = (signal: number, noise: number): number => 10 * Math.log10(signal / noise);
const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);

/** A token's squares, those of what absmax8 takes from it (ops/activation-quant), and its largest over its root mean square. */
export function roundingOf(row: Float32Array): { signal: number; noise: number; peak: number } {
  let absmax = 0;
  let signal = 0;
  for (const x of row) {
    absmax = Math.max(absmax, Math.abs(x));
    signal += x * x;
  }
  const bounded = Math.max(absmax, activationEps);
  const [factor, scale] = [127 / bounded, bounded / 127];
  let noise = 0;
  for (const x of row) noise += (x - roundHalfEven(x * factor) * scale) ** 2;
  return { signal, noise, peak: signal > 0 ? absmax / Math.sqrt(signal / row.length) : 0 };
}
