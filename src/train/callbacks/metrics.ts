/**
 * Composes the lines of metrics/scalars.jsonl and emits them as `scalars` events; who writes or shows them is another
 * callback. Keys:
 *
 *   step, epoch, loss, ppl_smoothed, learning_rate, weight_decay, grad_norm, tokens_per_sec, total_tokens, elapsed_ms,
 *   data_wait_ms, skipped_steps, memory_rss_bytes, backend_live_bytes, backend_peak_bytes, ternary_share
 *   of a mixture also: sources: { <name>: { tokens, epochs } }, drawn so far
 *   where batches without a counted target were skipped since the last line also: skipped_batches
 *   of progressive quantization also: quant_lambda, and what its kind has: quant_bits, quant_temperature
 *   of objectives other than the next-token loss alone also: losses: { <objective>: its loss before its weight,
 *     <objective>.<part>: ... }; loss then is their weighted sum
 *   every `termsEvery` steps of several objectives also: grad_norms: { <objective>: the gradient norm of its weighted loss }
 *   every `layersEvery` steps also: weights_flipped, flipped_since_step, and
 *     layers: { <name>: { minus, zero, plus (fractions), gamma, flipped } }
 *   every `errorEvery` steps also: errors_since_step, and in layers the error measures of quant-errors.ts
 *   and whatever callbacks of the run log (events.ts), such as flip_rate
 *   lines of an evaluation: step, val_loss, val_ppl, val_tokens, bits_per_byte (null where unknown), total_tokens
 *
 * loss is the step's own; ppl_smoothed = exp of the running mean of next-token losses (left out where no objective has
 * one) with weight `smoothing` on the old, corrected
 * for its start at zero; tokens_per_sec is over the steps since the last line, evaluations and saving left out, and so are
 * elapsed_ms and, of it, data_wait_ms, in which training waited for a batch.
 */
import { ternaryStats, ternaryStatsPerSlot } from "../../ops/ternary-stats/index.ts";
import { gather } from "../../ops/weighted-sum/index.ts";
import type { Parameter, Tensor } from "../../tensor/index.ts";
import { nextTokenLoss } from "../objectives/weighted.ts";
import type { Callback, ScalarLine, StepEvent, Training } from "../events.ts";
import { type LayerErrors, quantErrors } from "./quant-errors.ts";

export interface MetricsConfig {
  every: number;
  layersEvery: number | null;
  /** Steps between lines with error measures of each ternary layer; absent or null: never. */
  errorEvery?: number | null;
  /** Whether they say how far the weights moved: 4 bytes for each ternary weight. */
  drift?: boolean;
  /** Of a step measured by the trainer: its line is always written. */
  termsEvery?: number | null;
  smoothing: number;
}

interface State {
  /** Running mean of losses, not yet corrected, and the weight that it lacks. */
  mean: number;
  missing: number;
}

export function metrics(config: MetricsConfig, residentBytes: () => number): Callback {
  const { every, layersEvery, errorEvery = null, drift = false, smoothing } = config;
  let state: State = { mean: 0, missing: 1 };
  let tokens = 0;
  let elapsedMs = 0;
  let dataWaitMs = 0;
  let totalTokens = 0;
  let passedOver = 0;
  let ternaryShare = 0;
  const layers = layersEvery === null ? null : layerStatistics();
  const errors = errorEvery === null ? null : quantErrors({ drift });

  function describeStep(event: StepEvent, training: Training): ScalarLine {
    const { stats } = training.runtime.backend;
    const line: ScalarLine = {
      step: event.step,
      epoch: event.epoch,
      loss: event.loss,
      ...(event.parts && nextTokenLoss(event.parts) === undefined
        ? {}
        : { ppl_smoothed: Math.exp(state.mean / (1 - state.missing)) }),
      learning_rate: event.learningRate,
      weight_decay: event.weightDecay,
      grad_norm: event.gradNorm,
      tokens_per_sec: round((tokens * 1000) / elapsedMs, 1),
      total_tokens: event.totalTokens,
      elapsed_ms: round(elapsedMs, 1),
      data_wait_ms: round(dataWaitMs, 3),
      skipped_steps: event.skippedSteps,
      memory_rss_bytes: residentBytes(),
      backend_live_bytes: stats.liveBytes,
      backend_peak_bytes: stats.peakBytes,
      ternary_share: ternaryShare,
    };
    if (passedOver > 0) line.skipped_batches = passedOver;
    if (event.parts) line.losses = event.parts;
    if (event.termNorms) line.grad_norms = event.termNorms;
    if (event.quantLambda !== undefined) line.quant_lambda = round(event.quantLambda, 6);
    for (const [key, value] of Object.entries(event.quantization ?? {})) line[key] = Number(value.toPrecision(6));
    if (event.sources)
      line.sources = Object.fromEntries(
        event.sources.map(({ name, drawnTokens, epochs }) => [name, { tokens: drawnTokens, epochs: round(epochs, 6) }]),
      );
    tokens = 0;
    elapsedMs = 0;
    dataWaitMs = 0;
    passedOver = 0;
    return line;
  }

  return {
    name: "metrics",
    async on(event, training) {
      if (event.type === "start") {
        ternaryShare = round(shareOfTernary(training.model.parameters), 6);
        layers?.start(training, event.step);
        await errors?.start(training, event.step);
      }
      if (event.type === "rollback") {
        layers?.start(training, event.step);
        await errors?.start(training, event.step);
      }
      if (event.type === "step") {
        tokens += event.tokens;
        elapsedMs += event.elapsedMs;
        dataWaitMs += event.dataWaitMs;
        passedOver += event.passedOver ?? 0;
        totalTokens = event.totalTokens;
        if (!event.skipped) {
          const nats = event.parts ? nextTokenLoss(event.parts) : event.loss;
          if (nats !== undefined)
            state = {
              mean: smoothing * state.mean + (1 - smoothing) * nats,
              missing: smoothing * state.missing,
            };
        }
        const wantsLayers = layers !== null && event.step % layersEvery! === 0;
        const wantsErrors = errors !== null && event.step % errorEvery! === 0;
        if (
          !wantsLayers &&
          !wantsErrors &&
          !event.termNorms &&
          event.step % every !== 0 &&
          event.step !== training.steps
        )
          return;
        const line = describeStep(event, training);
        if (wantsLayers) Object.assign(line, await layers.measure(training, event.step));
        if (wantsErrors) addErrors(line, await errors.measure(training, event.step));
        const logged = training.takeLogged();
        Object.assign(line, logged.values);
        const described = (line.layers ?? {}) as Record<string, Record<string, number>>;
        for (const [name, values] of Object.entries(logged.layers))
          if (described[name]) Object.assign(described[name], values);
        await training.emit({ type: "scalars", line });
      }
      if (event.type === "evaluation") {
        const line: ScalarLine = {
          step: event.step,
          val_loss: event.loss,
          val_ppl: Math.exp(event.loss),
          val_tokens: event.tokens,
          bits_per_byte: event.bitsPerByte,
          total_tokens: totalTokens,
        };
        await training.emit({ type: "scalars", line });
      }
    },
    state: () => ({ ...state, totalTokens }),
    restore(saved) {
      const { totalTokens: before, ...rest } = saved as State & { totalTokens: number };
      state = rest;
      totalTokens = before;
    },
    close() {
      layers?.close();
      errors?.close();
    },
  };
}

/** Adds measures to the layers that the line has; what both say stays as it was. */
function addErrors(line: ScalarLine, measured: { since: number; layers: LayerErrors } | null): void {
  if (!measured) return;
  const layers = (line.layers ?? {}) as Record<string, object>;
  line.errors_since_step = measured.since;
  line.layers = Object.fromEntries(
    Object.entries(measured.layers).map(([name, values]) => [name, { ...values, ...layers[name] }]),
  );
}

/** Share of all weights that are ternary. */
export function shareOfTernary(parameters: readonly Parameter[]): number {
  let ternary = 0;
  let all = 0;
  for (const { role, size } of parameters) {
    all += size;
    if (role === "ternary") ternary += size;
  }
  return ternary / all;
}

/** Fractions of -1, 0, +1 in each ternary layer, its scale gamma, and codes that changed since the last measurement. */
function layerStatistics() {
  // A layer makes new codes when its weights change and lets go of the old: holding those costs no copy.
  let previous: Tensor[] = [];
  let since = 0;
  const hold = ({ runtime, model }: Training): Tensor[] =>
    model.ternaryLayers.map((layer) => {
      const { codes } = layer.quantized(runtime);
      codes.storage.retain();
      return codes;
    });
  const release = () => {
    for (const codes of previous) codes.storage.release();
    previous = [];
  };
  return {
    start(training: Training, step: number) {
      release();
      previous = hold(training);
      since = step;
    },
    async measure(training: Training, step: number): Promise<Record<string, unknown>> {
      const { runtime, model } = training;
      if (model.ternaryLayers.length === 0) return {};
      const now = hold(training);
      const into = runtime.empty([now.length * ternaryStatsPerSlot], "i32");
      const gammas = runtime.empty([now.length]);
      const found: Record<string, unknown> = {};
      let flipped = 0;
      try {
        for (const [i, codes] of now.entries()) ternaryStats(runtime.plainContext(), codes, previous[i], into, i);
        const scales = model.ternaryLayers.map((layer) => layer.quantized(runtime).scale);
        gather(runtime.plainContext(), scales, gammas);
        const [counts, gamma] = await Promise.all([runtime.read(into), runtime.readFloats(gammas)]);
        for (const [i, layer] of model.ternaryLayers.entries()) {
          const { weight } = layer;
          const [minus, zero, plus, changed] = counts.subarray(i * ternaryStatsPerSlot, (i + 1) * ternaryStatsPerSlot);
          found[weight.name.replace(/\.weight$/, "")] = {
            minus: round(minus / weight.size, 6),
            zero: round(zero / weight.size, 6),
            plus: round(plus / weight.size, 6),
            gamma: gamma[i],
            flipped: changed,
          };
          flipped += changed;
        }
      } finally {
        into.dispose();
        gammas.dispose();
      }
      release();
      previous = now;
      const line = { weights_flipped: flipped, flipped_since_step: since, layers: found };
      since = step;
      return line;
    },
    close: release,
  };
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
