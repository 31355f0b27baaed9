/**
 * Which ternary layers to keep more exact, within a budget: greedy, by the measured fall in loss for each byte. A layer's fall
 * is that of the model with this layer alone raised (put one back, for each rung of the ladder); what they come to together
 * is measured at the end, or, for a budget of loss, step by step. What it gives is an overrides file's content.
 */
import type { TokenStream } from "../../data/index.ts";
import { type LayerChoice, type QuantizationConfig, quantizationOf, type Transformer } from "../../model/index.ts";
import type { LinearLayer } from "../../nn/index.ts";
import { copy } from "../../ops/add/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Tensor } from "../../tensor/index.ts";
import {
  differenceOf,
  type LossOfSample,
  lossOf,
  type Measured,
  type SampleOptions,
  scoreSample,
  takeSample,
} from "../sample.ts";
import type { WindowScore } from "../text.ts";
import { type Rung, rungsOf, rungValues, ternaryBytes } from "./ladder.ts";
import { createProbe, type Probe } from "./probe.ts";

export interface BudgetOptions extends SampleOptions {
  /** Bytes of the whole model at most: blocks by the ladder, embedding and head in float16, norms in float32. */
  bytes?: number;
  /** Or nats per token at most, for as few bytes as the search finds. */
  lossNats?: number;
  /** As measureSensitivity's. */
  quantizer?: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number, what: string) => void;
}

export interface RaisedLayer {
  /** Full name. */
  layer: string;
  /** From ternary to this: "int8", "none". */
  weights: string;
  /** Bytes more than ternary. */
  extraBytes: number;
  /** Fall in loss with this layer alone raised. */
  fall: Measured;
}

export interface BudgetPlan {
  /** In the order in which they were raised first. */
  raised: RaisedLayer[];
  /** For an overrides file, over the model's own config. */
  quantization: QuantizationConfig;
  /** Of the model as planned, by the ladder's bytes, and with all its ternary layers ternary. */
  bytes: number;
  ternaryBytes: number;
  /** Of the model as planned, measured whole, and with all its ternary layers ternary. */
  loss: LossOfSample;
  ternaryLoss: LossOfSample;
  sequences: number;
  tokens: number;
}

/** A rung of a layer, with what it gains. */
interface Option extends Rung {
  fall: Measured;
}

interface Candidate {
  layer: LinearLayer;
  options: Option[];
  /** Index of the option that is chosen; -1: ternary. */
  at: number;
}

/**
 * @throws UsageError for a budget that cannot be met, with the least that can be; as measureSensitivity
 */
export async function planBudget(model: Transformer, stream: TokenStream, options: BudgetOptions): Promise<BudgetPlan> {
  const { bytes, lossNats } = options;
  if ((bytes === undefined) === (lossNats === undefined))
    throw new UsageError("a budget is of bytes or of loss: name one of them");
  for (const [what, value] of Object.entries({ bytes, lossNats }))
    if (value !== undefined && !(value > 0)) throw new UsageError(`a budget of ${what} ${value}; expected above 0`);
  const sample = takeSample(model, stream, options);
  const probe = await createProbe(model, options.quantizer);
  let search: ReturnType<typeof createSearch> | null = null;
  try {
    search = createSearch(probe, async () => scoreSample(probe.model, sample, options.signal), options);
    const least = search.bytes();
    if (bytes !== undefined && bytes < least)
      throw new UsageError(
        `a budget of ${bytes} bytes cannot be met: with every layer ternary the model takes ${least}, which is the least`,
      );
    await search.measureAll();
    const scores = await (bytes === undefined ? search.downTo(lossNats!) : search.upTo(bytes));
    return {
      raised: search.raised(),
      quantization: search.quantization(),
      bytes: search.bytes(),
      ternaryBytes: least,
      loss: lossOf(scores),
      ternaryLoss: lossOf(search.base()),
      sequences: sample.count,
      tokens: sample.count * sample.sequence,
    };
  } finally {
    search?.restore();
    probe.dispose();
  }
}

function createSearch(
  { model, asIf, quantization }: Probe,
  score: () => Promise<WindowScore[]>,
  { onProgress }: Pick<BudgetOptions, "onProgress">,
) {
  const { runtime } = model;
  const candidates: Candidate[] = model.ternaryLayers.map((layer) => ({ layer, options: [], at: -1 }));
  if (candidates.length === 0)
    throw new UsageError(
      "a budget raises ternary layers, and there are none; name a ternary quantizer, such as absmean",
    );
  const order: Candidate[] = [];
  const originals = new Map<LinearLayer, Tensor>();
  let base: WindowScore[] = [];

  /** The layer as a rung has it, or as it was: its weights are put in place, and lambda 0 takes the rounding away. */
  const set = (layer: LinearLayer, weights: string | null) => {
    const { tensor } = layer.weight;
    const before = originals.get(layer);
    if (before) copy(runtime.plainContext(), tensor, before);
    layer.lambda = weights === null ? 1 : 0;
    if (weights === null) return;
    const values = rungValues(runtime, tensor, weights, layer.spec.scale);
    if (!values) return;
    if (!before) {
      const kept = runtime.empty(tensor.shape);
      copy(runtime.plainContext(), kept, tensor);
      originals.set(layer, kept);
    }
    copy(runtime.plainContext(), tensor, values);
    values.dispose();
  };
  const chosen = ({ options, at }: Candidate): Option | null => (at < 0 ? null : options[at]);
  const bytesOf = (candidate: Candidate) => chosen(candidate)?.bytes ?? ternaryBytes(candidate.layer.spec);
  const otherBytes = model.parameters.reduce((sum, { name, role, size }) => {
    if (candidates.some(({ layer }) => layer.weight.name === name)) return sum;
    return sum + size * (role === "norm" ? 4 : 2);
  }, 0);
  const bytes = () => candidates.reduce((sum, candidate) => sum + bytesOf(candidate), otherBytes);

  /** The step up with the most fall for a byte, of those that take no more than `room` bytes and gain anything. */
  const best = (room: number): { candidate: Candidate; to: number } | null => {
    let found: { candidate: Candidate; to: number } | null = null;
    let most = 0;
    for (const candidate of candidates) {
      const had = chosen(candidate)?.fall.value ?? 0;
      for (const [to, option] of candidate.options.entries()) {
        const more = option.bytes - bytesOf(candidate);
        const rate = (option.fall.value - had) / more;
        if (more <= 0 || more > room || !(rate > most)) continue;
        most = rate;
        found = { candidate, to };
      }
    }
    return found;
  };
  const raise = ({ candidate, to }: { candidate: Candidate; to: number }) => {
    candidate.at = to;
    if (!order.includes(candidate)) order.push(candidate);
    set(candidate.layer, candidate.options[to].weights);
  };

  return {
    bytes,
    base: () => base,
    /** The fall of each rung of each layer. */
    async measureAll(): Promise<void> {
      const rungs = candidates.map(({ layer }) => rungsOf(layer.spec));
      const total = 1 + rungs.reduce((sum, list) => sum + list.length, 0);
      let done = 0;
      onProgress?.(done, total, "all layers ternary");
      base = await score();
      for (const [i, candidate] of candidates.entries()) {
        for (const rung of rungs[i]) {
          onProgress?.(++done, total, `${candidate.layer.name} in ${rung.weights}`);
          set(candidate.layer, rung.weights);
          candidate.options.push({ ...rung, fall: differenceOf(base, await score()) });
        }
        set(candidate.layer, null);
      }
    },
    async upTo(most: number): Promise<WindowScore[]> {
      for (let step = best(most - bytes()); step; step = best(most - bytes())) raise(step);
      return order.length === 0 ? base : score();
    },
    /** Raises layers until the loss that is measured is low enough; measures once the falls that were added up say so. */
    async downTo(lossNats: number): Promise<WindowScore[]> {
      let scores = base;
      let least = { loss: lossOf(base).lossNats, bytes: bytes() };
      let expected = least.loss;
      for (;;) {
        const loss = lossOf(scores).lossNats;
        if (loss <= lossNats) return scores;
        let step = best(Number.POSITIVE_INFINITY);
        if (!step) break;
        do {
          expected -= step.candidate.options[step.to].fall.value - (chosen(step.candidate)?.fall.value ?? 0);
          raise(step);
          step = expected > lossNats ? best(Number.POSITIVE_INFINITY) : null;
        } while (step);
        scores = await score();
        const now = lossOf(scores).lossNats;
        if (now < least.loss) least = { loss: now, bytes: bytes() };
      }
      throw new UsageError(
        `a loss of ${lossNats} nats per token cannot be met: the least that was found is ${least.loss.toFixed(4)}, in ${least.bytes} bytes (all layers ternary: ${lossOf(base).lossNats.toFixed(4)})`,
      );
    },
    raised: (): RaisedLayer[] =>
      order.map((candidate) => {
        const { weights, bytes: own, fall } = chosen(candidate)!;
        const { name, spec } = candidate.layer;
        return { layer: name, weights, extraBytes: own - ternaryBytes(spec), fall };
      }),
    quantization(): QuantizationConfig {
      const choices = new Map<string, LayerChoice>(
        order.map((candidate) => [candidate.layer.name, { weights: chosen(candidate)!.weights, activations: "none" }]),
      );
      const found = quantizationOf(choices, model.config.layers);
      // An estimator that the model's config names for a layer is of ternary weights.
      const named = model.config.quantization?.overrides?.some(({ estimator }) => estimator) ?? false;
      const overrides = found?.overrides?.map((one) => (named ? { ...one, estimator: "auto" } : one)) ?? [];
      return { ...(asIf === null ? {} : quantization), overrides };
    },
    restore(): void {
      for (const { layer } of candidates) set(layer, null);
      for (const kept of originals.values()) kept.dispose();
      originals.clear();
    },
  };
}
