/**
 * A model on a text, in one pass: loss with its standard error, bits per byte, and calibration. Each token is scored once, in
 * windows one behind the other, predicted from what stands before it in its window (as eval/loss.ts without a stride).
 *
 *   loss L = sum of nats / tokens; standard error by windows: sqrt(n/(n-1) · sum (nats_i - L · tokens_i)²) / tokens
 *
 * Tokens of one window depend on each other, so windows are what is counted, not tokens.
 *
 * Calibration (Guo et al. 2017, arXiv:1706.04599): the probability p of the likeliest token, in bins of equal width; of each
 * bin the mean p and the share in which that token came. ECE = sum over bins of (count / all) · |mean p - share|.
 */
import { sequentialBatches, type TokenStream } from "../data/index.ts";
import type { Transformer } from "../model/index.ts";
import { DataError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";

export interface CalibrationBin {
  from: number;
  to: number;
  count: number;
  /** Means over the bin; null where it is empty. */
  meanProbability: number | null;
  accuracy: number | null;
}

export interface Calibration {
  bins: CalibrationBin[];
  /** ECE, from 0 (said as often as right) to 1. */
  expectedCalibrationError: number;
  /** Share of tokens that were the likeliest. */
  accuracy: number;
}

export interface WindowScore {
  nats: number;
  tokens: number;
}

export interface TextMeasurement {
  /** Of the token stream: text and tokenizer. */
  identity: string;
  tokens: number;
  /** UTF-8 bytes of what was scored; null where they cannot be told. */
  bytes: number | null;
  sequence: number;
  /** Whether the whole text was scored. */
  whole: boolean;
  lossNats: number;
  /** Of lossNats; null for a single window. */
  lossStandardError: number | null;
  perplexity: number;
  bitsPerByte: number | null;
  bitsPerByteStandardError: number | null;
  calibration: Calibration;
  /** In the text's order: what differences of two models are paired by. */
  windows: WindowScore[];
}

export interface MeasureTextOptions {
  /** Default: the model's context. */
  sequence?: number;
  /** Score only the first so many tokens. */
  maxTokens?: number;
  /** UTF-8 bytes of what is scored, where that is a part and the caller has counted them. */
  textBytes?: number | null;
  signal?: AbortSignal;
  onProgress?: (tokens: number, totalTokens: number) => void;
}

const binCount = 10;
/** Logits of a batch at most, 64 MiB. */
const maxLogits = 2 ** 24;

/**
 * @throws DataError for a vocabulary that is not the model's, an empty text, or logits that are not finite; UsageError for a
 *   sequence that does not fit
 */
export async function measureText(
  model: Pick<Transformer, "config" | "runtime" | "logits">,
  tokens: TokenStream,
  options: MeasureTextOptions = {},
): Promise<TextMeasurement> {
  const { vocabSize, contextLength } = model.config;
  const { sequence = contextLength, maxTokens, signal, onProgress } = options;
  if (tokens.vocabSize > vocabSize)
    throw new DataError(
      `the text was encoded with a vocabulary of ${tokens.vocabSize} tokens, the model has ${vocabSize}; use the tokenizer that the model was trained with`,
    );
  const batch = Math.max(1, Math.min(8, Math.floor(maxLogits / (sequence * vocabSize))));
  const batches = sequentialBatches({ tokens, batch, sequence, maxTokens });
  const windows: WindowScore[] = [];
  const calibration = createCalibration(binCount);
  for (const { tokens_BT, targets_BT } of batches) {
    signal?.throwIfAborted();
    await nextTurn();
    const { runtime } = model;
    const output = model.logits({ tokens: tokens_BT, batch, length: sequence });
    let logits: Float32Array;
    try {
      logits = await runtime.readFloats(output);
    } finally {
      output.dispose();
    }
    for (let b = 0; b < batch; b++) {
      const window: WindowScore = { nats: 0, tokens: 0 };
      for (let i = b * sequence; i < (b + 1) * sequence; i++) {
        if (targets_BT[i] < 0) continue;
        const { nats, likeliest, probability } = scoreRow(logits, i * vocabSize, vocabSize, targets_BT[i]);
        if (!Number.isFinite(nats))
          throw new DataError(
            `the loss of token ${targets_BT[i]} is ${nats}; the model's weights are damaged or its training diverged, use an earlier checkpoint`,
          );
        window.nats += nats;
        window.tokens++;
        calibration.add(probability, likeliest === targets_BT[i]);
      }
      if (window.tokens > 0) windows.push(window);
    }
    onProgress?.(
      windows.reduce((sum, w) => sum + w.tokens, 0),
      batches.tokenCount,
    );
  }
  const whole = batches.textBytes !== undefined;
  // A stream that is a part of another one says 0.
  const bytes = (whole ? batches.textBytes : 0) || options.textBytes || null;
  return {
    identity: tokens.identity,
    bytes,
    sequence,
    whole,
    ...summarize(windows, bytes),
    calibration: calibration.result(),
    windows,
  };
}

/** Loss, perplexity and bits per byte of windows. @throws DataError where there are none */
export function summarize(windows: readonly WindowScore[], bytes: number | null) {
  const tokens = windows.reduce((sum, w) => sum + w.tokens, 0);
  if (tokens === 0) throw new DataError("there is nothing to score: the text is empty");
  const lossNats = windows.reduce((sum, w) => sum + w.nats, 0) / tokens;
  const lossStandardError = ratioStandardError(windows);
  const perByte = bytes === null ? null : tokens / (Math.LN2 * bytes);
  return {
    tokens,
    lossNats,
    lossStandardError,
    perplexity: Math.exp(lossNats),
    bitsPerByte: perByte === null ? null : lossNats * perByte,
    bitsPerByteStandardError: perByte === null || lossStandardError === null ? null : lossStandardError * perByte,
  };
}

/** Of nats per token, windows being independent (Cochran's estimator of a ratio); null for fewer than two. */
export function ratioStandardError(windows: readonly WindowScore[]): number | null {
  const n = windows.length;
  if (n < 2) return null;
  const tokens = windows.reduce((sum, w) => sum + w.tokens, 0);
  const mean = windows.reduce((sum, w) => sum + w.nats, 0) / tokens;
  const squares = windows.reduce((sum, w) => sum + (w.nats - mean * w.tokens) ** 2, 0);
  return Math.sqrt((squares * n) / (n - 1)) / tokens;
}

/**
 * Standard error of the difference in loss of two models on the same windows: smaller than from their own errors, for
 * what is hard is hard for both. null where the windows are not the same.
 */
export function pairedStandardError(a: readonly WindowScore[], b: readonly WindowScore[]): number | null {
  if (a.length !== b.length || a.some(({ tokens }, i) => tokens !== b[i].tokens)) return null;
  return ratioStandardError(a.map(({ nats, tokens }, i) => ({ nats: nats - b[i].nats, tokens })));
}

/** -ln p of the target, and the likeliest token with its probability; in float64. */
function scoreRow(logits: Float32Array, at: number, count: number, target: number) {
  let most = Number.NEGATIVE_INFINITY;
  let likeliest = 0;
  for (let v = 0; v < count; v++)
    if (logits[at + v] > most) {
      most = logits[at + v];
      likeliest = v;
    }
  let sum = 0;
  for (let v = 0; v < count; v++) sum += Math.exp(logits[at + v] - most);
  return { nats: Math.log(sum) + most - logits[at + target], likeliest, probability: 1 / sum };
}

/** Counts predictions by bins of their probability. */
export function createCalibration(bins: number) {
  const counts = new Float64Array(bins);
  const probabilities = new Float64Array(bins);
  const right = new Float64Array(bins);
  return {
    add(probability: number, isRight: boolean): void {
      const bin = Math.min(bins - 1, Math.floor(probability * bins));
      counts[bin]++;
      probabilities[bin] += probability;
      if (isRight) right[bin]++;
    },
    result(): Calibration {
      const all = counts.reduce((a, b) => a + b, 0);
      let error = 0;
      for (let i = 0; i < bins; i++) error += Math.abs(probabilities[i] - right[i]);
      return {
        bins: Array.from({ length: bins }, (_, i) => ({
          from: i / bins,
          to: (i + 1) / bins,
          count: counts[i],
          meanProbability: counts[i] > 0 ? probabilities[i] / counts[i] : null,
          accuracy: counts[i] > 0 ? right[i] / counts[i] : null,
        })),
        expectedCalibrationError: all > 0 ? error / all : 0,
        accuracy: all > 0 ? right.reduce((a, b) => a + b, 0) / all : 0,
      };
    },
  };
}
