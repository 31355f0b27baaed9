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
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
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
  { batch, vocabSize, endOfText, signal, onProgress }: SequenceLossOptions,
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
  let scored = 0;
  for (let first = 0; first < count; first += batch) {
    signal?.throwIfAborted();
    const rows = Math.min(batch, count - first);
    const tokens = new Int32Array(rows * length);
    const targets = new Int32Array(rows * length);
    for (let b = 0; b < rows; b++) {
      const [from, to] = [b * length, (b + 1) * length];
      sequences.read(first + b, tokens.subarray(from, to), targets.subarray(from, to));
    }
    const documentStart = endOfText === undefined ? undefined : documentStarts(tokens, length, endOfText);
    const each = await scoreBatch(model, { tokens, batch: rows, length, documentStart }, targets);
    for (let b = 0; b < rows; b++) {
      let nats = 0;
      let counted = 0;
      for (let i = b * length; i < (b + 1) * length; i++)
        if (targets[i] !== unscored) {
          nats += each[i];
          counted++;
        }
      if (counted === 0) throw new DataError(`sequence ${first + b} has no token to predict`);
      losses[first + b] = nats / counted;
      scored += counted;
    }
    onProgress?.({ tokens: scored, totalTokens: count * length });
  }
  return losses;
}
