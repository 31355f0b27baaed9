/**
 * The loss of a model on each sequence of training data: what a curriculum by loss orders them by. Called by cli/, which
 * keeps the numbers beside the shards.
 */
import { documentStarts, type SequenceReader } from "../data/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { type Progress, type ScoringModel, scoreBatch, unscored } from "./score.ts";

export interface SequenceLossOptions {
  /** B: sequences at once. Changes memory and speed; the result only in the last bits. */
  batch: number;
  vocabSize: number;
  /** For attention that does not reach over a document's start, as in a training with data.maskDocuments. */
  endOfText?: number;
  /** Keeps what is finished, so that work that was ended goes on; openUnfinishedScores of data/ gives one. */
  parts?: LossParts;
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

/** Losses of a stretch of sequences each. */
export interface LossParts {
  readonly partSequences: number;
  read(part: number): Float32Array | null;
  write(part: number, losses: Float32Array): void;
}

/**
 * Mean nats per target of every sequence, [S]: forward only.
 *
 * @throws DataError for a vocabulary that does not fit the model's, a loss that is not finite, or a sequence without a target;
 *   UsageError for a sequence over the model's context
 */
export async function sequenceLosses(
  model: ScoringModel,
  sequences: SequenceReader,
  { batch, vocabSize, endOfText, parts, signal, onProgress }: SequenceLossOptions,
): Promise<Float32Array> {
  const { config } = model;
  const { length, count } = sequences;
  if (!(Number.isInteger(batch) && batch >= 1))
    throw new UsageError(`batch is ${batch}; expected a whole number from 1`);
  if (length > config.contextLength)
    throw new UsageError(`sequences have ${length} tokens, but the model's context is ${config.contextLength}`);
  if (vocabSize > config.vocabSize)
    throw new DataError(
      `the data were encoded with a vocabulary of ${vocabSize} tokens, the model has ${config.vocabSize}; use a model with the data's tokenizer`,
    );
  const losses = new Float32Array(count);
  const step = parts?.partSequences ?? count;
  for (let from = 0, part = 0; from < count; from += step, part++) {
    const to = Math.min(count, from + step);
    const before = parts?.read(part);
    if (before) losses.set(before, from);
    // Batches begin with the part, so a part's losses are the same whatever was done before.
    for (let first = from; first < to && !before; first += batch) {
      signal?.throwIfAborted();
      const rows = Math.min(batch, to - first);
      losses.set(await lossesOf(model, sequences, first, rows, endOfText), first);
      onProgress?.({ tokens: (first + rows) * length, totalTokens: count * length });
    }
    if (before) onProgress?.({ tokens: to * length, totalTokens: count * length });
    else parts?.write(part, losses.subarray(from, to));
  }
  return losses;
}

/** Of a batch of sequences, one forward pass. */
async function lossesOf(
  model: ScoringModel,
  sequences: SequenceReader,
  first: number,
  rows: number,
  endOfText: number | undefined,
): Promise<Float32Array> {
  const { length } = sequences;
  const tokens = new Int32Array(rows * length);
  const targets = new Int32Array(rows * length);
  for (let b = 0; b < rows; b++) {
    const [from, to] = [b * length, (b + 1) * length];
    sequences.read(first + b, tokens.subarray(from, to), targets.subarray(from, to));
  }
  const documentStart = endOfText === undefined ? undefined : documentStarts(tokens, length, endOfText);
  const each = await scoreBatch(model, { tokens, batch: rows, length, documentStart }, targets);
  return Float32Array.from({ length: rows }, (_, b) => {
    let nats = 0;
    let counted = 0;
    for (let i = b * length; i < (b + 1) * length; i++)
      if (targets[i] !== unscored) {
        nats += each[i];
        counted++;
      }
    if (counted === 0) throw new DataError(`sequence ${first + b} has no token to predict`);
    return nats / counted;
  });
}
