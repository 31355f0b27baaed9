/**
 * A sample of a text as whole sequences, held in memory, and a model's loss on each of them: what sensitivity and calibration
 * are measured on, again and again. Differences of two losses are paired by sequence, for what is hard is hard for both.
 */
import { sequencesOf, type TokenStream } from "../data/index.ts";
import type { TokenBatch, Transformer } from "../model/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";
import { pairedStandardError, summarize, type WindowScore } from "./text.ts";

export interface SampleOptions {
  /** T: tokens of a sequence. Default: the model's context. */
  sequence?: number;
  /** Tokens at most, rounded down to whole sequences, one at least. Default 16,384. */
  maxTokens?: number;
  /** B: sequences at once: memory and speed, the result only in the last bits. Default 8. */
  batch?: number;
}

export interface Sample {
  /** Of the token stream: text and tokenizer. */
  identity: string;
  /** T */
  sequence: number;
  count: number;
  batch: number;
  /** Of sequence i. */
  tokens(i: number): Int32Array;
  targets(i: number): Int32Array;
}

export const defaultSampleTokens = 2 ** 14;
const defaultBatch = 8;

/**
 * @param least sequences that are needed
 * @throws DataError for a text without so many sequences, or of another vocabulary; UsageError for sizes that do not fit
 */
export function takeSample(
  { config }: Pick<Transformer, "config">,
  stream: TokenStream,
  options: SampleOptions = {},
  least = 1,
): Sample {
  const { sequence = config.contextLength, maxTokens = defaultSampleTokens, batch = defaultBatch } = options;
  for (const [name, value] of Object.entries({ sequence, maxTokens, batch }))
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new UsageError(`${name} is ${value}; expected a whole number from 1`);
  if (sequence > config.contextLength)
    throw new UsageError(`sequence is ${sequence}, but the model's context is ${config.contextLength}`);
  if (stream.vocabSize > config.vocabSize)
    throw new DataError(
      `the text was encoded with a vocabulary of ${stream.vocabSize} tokens, the model has ${config.vocabSize}; use the tokenizer that the model was trained with`,
    );
  const reader = sequencesOf(stream, sequence);
  const wanted = Math.max(least, Math.floor(maxTokens / sequence));
  const count = Math.min(reader.count, wanted);
  if (count < least)
    throw new DataError(
      `the text has ${stream.tokenCount} tokens, which is ${count} ${count === 1 ? "sequence" : "sequences"} of ${sequence}; ${least} are needed at least: give more text or a shorter sequence`,
    );
  const tokens = new Int32Array(count * sequence);
  const targets = new Int32Array(count * sequence);
  const part = (array: Int32Array, i: number) => array.subarray(i * sequence, (i + 1) * sequence);
  for (let i = 0; i < count; i++) reader.read(i, part(tokens, i), part(targets, i));
  return {
    identity: stream.identity,
    sequence,
    count,
    batch,
    tokens: (i) => part(tokens, i),
    targets: (i) => part(targets, i),
  };
}

/** The sequences [from, to) of a sample. */
export function partOf(sample: Sample, from: number, to: number): Sample {
  return {
    ...sample,
    count: to - from,
    tokens: (i) => sample.tokens(from + i),
    targets: (i) => sample.targets(from + i),
  };
}

/** Its batches in order; the last may have fewer sequences. */
export function* batchesOf({ count, batch, sequence, ...sample }: Sample): Generator<{
  input: TokenBatch;
  targets: Int32Array;
}> {
  for (let first = 0; first < count; first += batch) {
    const rows = Math.min(batch, count - first);
    const tokens = new Int32Array(rows * sequence);
    const targets = new Int32Array(rows * sequence);
    for (let b = 0; b < rows; b++) {
      tokens.set(sample.tokens(first + b), b * sequence);
      targets.set(sample.targets(first + b), b * sequence);
    }
    yield { input: { tokens, batch: rows, length: sequence }, targets };
  }
}

/**
 * Nats of each sequence, as the model is now.
 *
 * @throws DataError where a loss is not finite
 */
export async function scoreSample(
  model: Pick<Transformer, "runtime" | "loss">,
  sample: Sample,
  signal?: AbortSignal,
): Promise<WindowScore[]> {
  const { runtime } = model;
  const { sequence } = sample;
  const scores: WindowScore[] = [];
  for (const { input, targets } of batchesOf(sample)) {
    signal?.throwIfAborted();
    await nextTurn();
    const tokenLoss = runtime.scope(() => model.loss(input, targets).tokenLoss);
    let losses: Float32Array;
    try {
      losses = await runtime.readFloats(tokenLoss);
    } finally {
      tokenLoss.dispose();
    }
    for (let b = 0; b < input.batch; b++) {
      const score: WindowScore = { nats: 0, tokens: 0 };
      for (let i = b * sequence; i < (b + 1) * sequence; i++) {
        if (targets[i] < 0) continue;
        if (!Number.isFinite(losses[i]))
          throw new DataError(
            `the loss of token ${targets[i]} is ${losses[i]}; the model's weights are damaged or its training diverged, use an earlier checkpoint`,
          );
        score.nats += losses[i];
        score.tokens++;
      }
      scores.push(score);
    }
  }
  return scores;
}

/** A number with its standard error; null where there is one sequence alone. */
export interface Measured {
  value: number;
  standardError: number | null;
}

export interface LossOfSample {
  lossNats: number;
  standardError: number | null;
  perplexity: number;
}

export function lossOf(scores: readonly WindowScore[]): LossOfSample {
  const { lossNats, lossStandardError, perplexity } = summarize(scores, null);
  return { lossNats, standardError: lossStandardError, perplexity };
}

/** The first's loss less the second's, on the same sequences. */
export function differenceOf(a: readonly WindowScore[], b: readonly WindowScore[]): Measured {
  const value = lossOf(a).lossNats - lossOf(b).lossNats;
  return { value, standardError: pairedStandardError(a, b) };
}

/** Mean and its standard error of numbers that each sequence gave. */
export function meanOf(values: readonly number[]): Measured {
  const n = values.length;
  const mean = values.reduce((sum, x) => sum + x, 0) / n;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return { value: mean, standardError: n < 2 ? null : Math.sqrt(squares / (n - 1) / n) };
}
