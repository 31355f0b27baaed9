/**
 * Batches of [B, T] tokens with their targets, cut from a token stream.
 *
 * Packed: documents follow one another with an end-of-text token between, and the stream is cut into sequences of T + 1
 * tokens, T apart, so that each token is a target once an epoch. Only the sequences of one batch are ever in memory.
 */
import { ignoreBeforeMarker, ignoredTarget, type LossMarker, nextCounted } from "./loss-mask.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { createPermutation } from "./permutation.ts";
import { sequencesOf } from "./sequences.ts";
import type { TokenStream } from "./token-stream.ts";

/** Marks a target that does not count (the convention of cross-entropy). */
export { ignoredTarget } from "./loss-mask.ts";

export interface Batch {
  /** [B, T] */
  tokens_BT: Int32Array;
  /** [B, T]: the token after each one; -100 where it does not count. */
  targets_BT: Int32Array;
  /**
   * [B, T], on request: for each token the place in its row from which it may attend, which is the last end-of-text
   * token at or before it, or 0. So a document sees the end-of-text token before it (as it does when text is generated
   * from nothing) and nothing of the document before.
   */
  documentStart_BT?: Int32Array;
  /** [B]: the number of each row's sequence in its source, whatever the order; absent in batches for evaluation. */
  sequence_B?: Int32Array;
  /** From 0. */
  epoch: number;
  /** Of the batch in its epoch, from 0. */
  index: number;
  /** Batches before this one that were skipped, since no target of theirs counts (`lossAfter`). */
  passedOver?: number;
}

/** Where a batch source stands, and of what: plain JSON for a checkpoint. */
export interface BatchPosition {
  version: 1;
  /** TokenStream.identity */
  data: string;
  batch: number;
  sequence: number;
  seed: number;
  shuffle: boolean;
  epoch: number;
  /** The batch that comes next in this epoch. */
  index: number;
}

/** Batches without end, epoch after epoch. */
export interface BatchSource {
  readonly batch: number;
  readonly sequence: number;
  readonly batchesPerEpoch: number;
  /** Targets an epoch: batchesPerEpoch · B · T. The rest of the stream (under B · T + T tokens) is left out. */
  readonly tokensPerEpoch: number;
  /** The next batch, in arrays of its own. */
  next(): Batch;
  state(): BatchPosition;
  /** Continues exactly where `state` was taken. DataError if it was taken of other data or settings. */
  restore(state: BatchPosition): void;
}

export interface BatchOptions {
  tokens: TokenStream;
  /** B, sequences a batch. */
  batch: number;
  /** T, tokens a sequence. */
  sequence: number;
  /** A whole number from 0 to 2^53. Decides the order of every epoch. */
  seed: number;
  /** A new order of the sequences in each epoch (default true); false keeps the order of the text. */
  shuffle?: boolean;
  /** Adds documentStart_BT. */
  documentStarts?: boolean;
  /** A text after which targets count, to the end of their document; see loss-mask.ts. Absent: all count. */
  lossAfter?: LossMarker;
}

function checkSizes(batch: number, sequence: number): void {
  if (!(Number.isInteger(batch) && batch >= 1))
    throw new UsageError(`batch is ${batch}; expected a whole number from 1`);
  if (!(Number.isInteger(sequence) && sequence >= 1))
    throw new UsageError(`sequence is ${sequence}; expected a whole number from 1`);
}

/** documentStart_BT of rows of tokens; see Batch. */
export function documentStarts(tokens_BT: Int32Array, sequence: number, endOfText: number): Int32Array {
  const starts = new Int32Array(tokens_BT.length);
  let start = 0;
  for (let i = 0; i < tokens_BT.length; i++) {
    const t = i % sequence;
    if (t === 0) start = 0;
    if (tokens_BT[i] === endOfText) start = t;
    starts[i] = start;
  }
  return starts;
}

/**
 * Training batches.
 *
 * Sequence i holds the tokens [i·T, i·T + T]; there are S = floor((N - 1) / T) (see sequences.ts for data that were packed
 * ahead). An epoch takes floor(S / B) batches of them; with shuffle, the sequences left out (under B of them) differ from epoch to epoch.
 *
 * @throws DataError if the data do not fill one batch; UsageError for sizes that are not whole numbers from 1
 */
export function createBatches(options: BatchOptions): BatchSource {
  const { tokens, batch, sequence, seed, shuffle = true } = options;
  checkSizes(batch, sequence);
  if (!(Number.isSafeInteger(seed) && seed >= 0))
    throw new UsageError(`seed is ${seed}; expected a whole number from 0`);
  const reader = sequencesOf(tokens, sequence);
  const sequences = reader.count;
  const batchesPerEpoch = Math.floor(sequences / batch);
  if (batchesPerEpoch < 1)
    throw new DataError(
      `a batch of ${batch} sequences of ${sequence} tokens needs ${batch * sequence + 1} tokens, but the data have ${tokens.tokenCount} (${sequences} sequences); give more text, a smaller batch or a shorter sequence`,
    );
  let epoch = 0;
  let index = 0;
  let sequenceAt = orderOf(epoch);

  function orderOf(epoch: number): (place: number) => number {
    return shuffle ? createPermutation(sequences, seed, epoch) : (place) => place;
  }

  const state = (): BatchPosition => ({
    version: 1,
    data: tokens.identity,
    batch,
    sequence,
    seed,
    shuffle,
    epoch,
    index,
  });
  function nextBatch(): Batch {
    if (index === batchesPerEpoch) {
      epoch++;
      index = 0;
      sequenceAt = orderOf(epoch);
    }
    const tokens_BT = new Int32Array(batch * sequence);
    const targets_BT = new Int32Array(batch * sequence);
    const sequence_B = new Int32Array(batch);
    for (let b = 0; b < batch; b++) {
      const [from, to] = [b * sequence, (b + 1) * sequence];
      sequence_B[b] = sequenceAt(index * batch + b);
      reader.read(sequence_B[b], tokens_BT.subarray(from, to), targets_BT.subarray(from, to));
    }
    const result: Batch = { tokens_BT, targets_BT, sequence_B, epoch, index };
    if (options.documentStarts) result.documentStart_BT = documentStarts(tokens_BT, sequence, tokens.endOfText);
    if (options.lossAfter) ignoreBeforeMarker(tokens_BT, targets_BT, sequence, options.lossAfter, tokens.endOfText);
    index++;
    return result;
  }

  return {
    batch,
    sequence,
    batchesPerEpoch,
    tokensPerEpoch: batchesPerEpoch * batch * sequence,
    next: () => (options.lossAfter ? nextCounted(nextBatch, batchesPerEpoch) : nextBatch()),
    state,
    restore(saved) {
      const own = state();
      for (const name of ["version", "data", "batch", "sequence", "seed", "shuffle"] as const)
        if (saved[name] !== own[name])
          throw new DataError(
            `cannot continue from the saved data position: its ${name} is ${saved[name]}, this run's is ${own[name]}; continue with the same data and settings, or start anew`,
          );
      const whole = (n: number) => Number.isSafeInteger(n) && n >= 0;
      if (!whole(saved.epoch) || !whole(saved.index) || saved.index > batchesPerEpoch)
        throw new DataError(
          `cannot continue from the saved data position: epoch ${saved.epoch}, batch ${saved.index} of ${batchesPerEpoch} does not exist`,
        );
      epoch = saved.epoch;
      index = saved.index;
      sequenceAt = orderOf(epoch);
    },
  };
}

export interface SequentialBatches extends Iterable<Batch> {
  readonly batchCount: number;
  /** Targets that count, over all batches. */
  readonly tokenCount: number;
  /** UTF-8 bytes of the text scored, or undefined where only a part of the stream is (it is not known for a part). */
  readonly textBytes: number | undefined;
}

/**
 * Batches for evaluation: in order, each token a target exactly once, nothing left out.
 *
 * The first token is predicted from an end-of-text token, every other from what stands before it in its window. So the
 * end-of-text tokens behind the documents are scored and counted in tokenCount (a model must also know when to stop),
 * while textBytes counts the text alone: bits per byte = nats of all targets / (ln 2 · textBytes). With
 * `scoreEndOfText: false` their targets are -100 and they are not counted.
 *
 * The last batch is filled up with end-of-text tokens whose targets are -100. May be iterated again.
 *
 * @param options.stride     windows are this far apart (default T). If less, the first T - stride targets of each window
 *                           but the first are -100: they serve as context, and were scored in the window before.
 * @param options.maxTokens  score only the first so many tokens of the stream
 * @throws UsageError for sizes that are not whole numbers, or a stride over T
 */
export function sequentialBatches(options: {
  tokens: TokenStream;
  batch: number;
  sequence: number;
  stride?: number;
  maxTokens?: number;
  scoreEndOfText?: boolean;
  documentStarts?: boolean;
  /** Tokens behind which targets count; tokenCount and textBytes are then of the whole text all the same. */
  lossAfter?: LossMarker;
}): SequentialBatches {
  const { tokens, batch, sequence, stride = sequence, scoreEndOfText = true } = options;
  checkSizes(batch, sequence);
  if (!(Number.isInteger(stride) && stride >= 1 && stride <= sequence))
    throw new UsageError(`stride is ${stride}; expected a whole number from 1 to the sequence of ${sequence}`);
  if (tokens.fitted)
    throw new UsageError(
      `the data were fitted into sequences of ${tokens.fitted.sequence} tokens, in which texts are cut and filled up; evaluate on a validation split, or on data prepared without best-fit packing`,
    );
  const { maxTokens = tokens.tokenCount } = options;
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1))
    throw new UsageError(`maxTokens is ${maxTokens}; expected a whole number from 1`);
  const n = Math.min(maxTokens, tokens.tokenCount);
  const windows = 1 + Math.max(0, Math.ceil((n - sequence) / stride));
  const batchCount = Math.ceil(windows / batch);
  const whole = n === tokens.tokenCount;

  function* batches(): Generator<Batch> {
    for (let index = 0; index < batchCount; index++) {
      const tokens_BT = new Int32Array(batch * sequence).fill(tokens.endOfText);
      const targets_BT = new Int32Array(batch * sequence).fill(ignoredTarget);
      for (let b = 0; b < batch && index * batch + b < windows; b++) {
        const window = index * batch + b;
        const start = window * stride; // of the targets; the inputs stand one before
        const targets = new Int32Array(Math.min(sequence, n - start));
        tokens.read(start, targets);
        const at = b * sequence;
        if (start > 0) tokens.read(start - 1, tokens_BT.subarray(at, at + 1));
        tokens_BT.set(targets.subarray(0, targets.length - 1), at + 1);
        const seen = window === 0 ? 0 : sequence - stride;
        for (let t = seen; t < targets.length; t++)
          if (scoreEndOfText || targets[t] !== tokens.endOfText) targets_BT[at + t] = targets[t];
      }
      const result: Batch = { tokens_BT, targets_BT, epoch: 0, index };
      if (options.documentStarts) result.documentStart_BT = documentStarts(tokens_BT, sequence, tokens.endOfText);
      if (options.lossAfter) ignoreBeforeMarker(tokens_BT, targets_BT, sequence, options.lossAfter, tokens.endOfText);
      yield result;
    }
  }
  return {
    batchCount,
    tokenCount: scoreEndOfText ? n : n - countEndOfText(tokens, n),
    textBytes: whole ? tokens.textBytes : undefined,
    [Symbol.iterator]: batches,
  };
}

function countEndOfText(tokens: TokenStream, n: number): number {
  const piece = new Int32Array(Math.min(n, 1 << 14));
  let found = 0;
  for (let at = 0; at < n; at += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, n - at));
    tokens.read(at, part);
    for (const token of part) if (token === tokens.endOfText) found++;
  }
  return found;
}
