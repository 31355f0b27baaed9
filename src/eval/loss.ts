/**
 * Loss of a model on a token stream: nats per token, perplexity, bits per byte. docs/evaluation.md defines the numbers.
 * Called by cli/, and by what runs a training, on text that was not trained on.
 */
import { type SequentialBatches, sequentialBatches, type TokenStream } from "../data/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { type Progress, type ScoringModel, scoreBatch, unscored } from "./score.ts";

export interface EvaluateOptions {
  /** B: sequences at once. Changes memory and speed; the result only in the last bits. */
  batch: number;
  /** T: tokens a sequence; by default the model's context. */
  sequence?: number;
  /**
   * Windows are this far apart; by default T: each token sees what stands before it in its window, the first of a window
   * just one. A smaller stride gives every token but the first T - stride or more to see, and takes T / stride the time.
   */
  stride?: number;
  /** Score only the first so many tokens. */
  maxTokens?: number;
  /** UTF-8 bytes of what is scored, where only a part is and the caller has counted them. */
  textBytes?: number | null;
  /** Score the end-of-text tokens behind the documents too (default). */
  scoreEndOfText?: boolean;
  /** Attention does not reach over a document's start, as in a training with data.maskDocuments. */
  maskDocuments?: boolean;
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface LossResult {
  /** Mean over the targets scored, nats per token. */
  lossNats: number;
  /** e to that: per token, so to be compared only between models with one tokenizer. */
  perplexity: number;
  /** Nats of all targets / (ln 2 · bytes): comparable between tokenizers. null where the bytes are not known. */
  bitsPerByte: number | null;
  /** e to the nats per byte, 2 to the bits per byte; null where the bytes are not known. */
  bytePerplexity: number | null;
  /** Targets scored, end-of-text tokens among them unless left out. */
  tokens: number;
  /** Of these, end-of-text tokens. */
  endOfTextTokens: number;
  /** UTF-8 bytes of the text scored; end-of-text tokens stand for none. null where they are not known. */
  bytes: number | null;
  /** Documents of the text; null where only a part of it was scored. */
  documents: number | null;
  sequence: number;
  stride: number;
}

/**
 * Scores a stream from its first token to its last, each once; the first is predicted from an end-of-text token. Sums are
 * float64, over losses in float32. Memory does not grow with the text.
 *
 * @throws DataError for a vocabulary that does not fit the model's, or a loss that is not finite; UsageError for sizes
 *   that are not whole numbers, a sequence over the model's context, or a stride over the sequence
 */
export async function evaluateLoss(
  model: ScoringModel,
  tokens: TokenStream,
  options: EvaluateOptions,
): Promise<LossResult> {
  const { config } = model;
  const { batch, sequence = config.contextLength, maskDocuments = false, signal, onProgress } = options;
  const { stride = sequence, scoreEndOfText = true } = options;
  if (sequence > config.contextLength)
    throw new UsageError(`sequence is ${sequence}, but the model's context is ${config.contextLength}`);
  if (tokens.vocabSize > config.vocabSize)
    throw new DataError(
      `the text was encoded with a vocabulary of ${tokens.vocabSize} tokens, the model has ${config.vocabSize}; use the tokenizer that the model was trained with`,
    );
  const batches: SequentialBatches = sequentialBatches({
    tokens,
    batch,
    sequence,
    stride,
    scoreEndOfText,
    maxTokens: options.maxTokens,
    documentStarts: maskDocuments,
  });
  let nats = 0;
  let scored = 0;
  let endOfTextTokens = 0;
  for (const { tokens_BT, targets_BT, documentStart_BT } of batches) {
    signal?.throwIfAborted();
    const input = { tokens: tokens_BT, batch, length: sequence, documentStart: documentStart_BT };
    const losses = await scoreBatch(model, input, targets_BT);
    for (let i = 0; i < losses.length; i++) {
      if (targets_BT[i] === unscored) continue;
      nats += losses[i];
      scored++;
      if (targets_BT[i] === tokens.endOfText) endOfTextTokens++;
    }
    onProgress?.({ tokens: scored, totalTokens: batches.tokenCount });
  }
  if (scored === 0) throw new DataError("there is nothing to score: the text holds only end-of-text tokens");
  const lossNats = nats / scored;
  const whole = batches.textBytes !== undefined;
  // A stream over tokens in memory that was not told its bytes says 0.
  const bytes = (whole ? batches.textBytes : options.textBytes) || null;
  return {
    lossNats,
    perplexity: Math.exp(lossNats),
    bitsPerByte: bytes ? nats / (Math.LN2 * bytes) : null,
    bytePerplexity: bytes ? Math.exp(nats / bytes) : null,
    tokens: scored,
    endOfTextTokens,
    bytes,
    documents: whole ? tokens.documentCount : null,
    sequence,
    stride,
  };
}
