/**
 * What runs a model for inference, whatever its weights look like in memory: sequences of tokens with their keys and
 * values, moved on together, logits out. Generation, scoring and the server are written over this; the packed engine and
 * the training-time model (transformer-engine.ts) implement it.
 */
import { DataError, UsageError } from "../platform/errors.ts";

/** The tokens of one text that the model has seen, with their keys and values. */
export interface Sequence {
  /** Tokens in it. */
  readonly length: number;
  /** Forgets all tokens from position `length` on. @throws UsageError if there are fewer */
  truncate(length: number): void;
  /** A copy that goes its own way: for a shared prefix, or the branches of a search. */
  fork(): Sequence;
  dispose(): void;
}

/** One sequence's part of a batch. */
export interface Work {
  readonly sequence: Sequence;
  /** What follows in the sequence; at least one token. */
  readonly tokens: ArrayLike<number>;
  /** Whose logits are wanted: nobody's, the last token's, every token's. */
  readonly logits: "none" | "last" | "all";
  /**
   * Where the logits go, as many numbers as they are: for who asks token by token, whose logits would otherwise each be new
   * memory that the collector takes its time to find. Absent: new memory.
   */
  readonly into?: Float32Array;
}

/** Rows of logits that a part asks for. */
export const rowsWanted = ({ tokens, logits }: Pick<Work, "tokens" | "logits">): number =>
  logits === "none" ? 0 : logits === "last" ? 1 : tokens.length;

export interface Engine {
  readonly vocabSize: number;
  /** Tokens that a sequence can hold. */
  readonly contextLength: number;
  /** Sequences may outgrow the context: each token then sees the last `contextLength` tokens. Absent: they may not. */
  readonly ring?: boolean;
  /** An empty sequence. */
  createSequence(): Sequence;
  /**
   * Moves sequences on, all in one pass over the weights. A sequence stands in one batch at most once.
   *
   * @returns for each part, its logits, row-major [rows, vocabSize]: 0, 1 or all rows as asked; its `into`, where it has one
   * @throws UsageError where a sequence would outgrow the context, DataError for a token outside the vocabulary; no
   *   sequence has changed then
   */
  forward(batch: readonly Work[]): Promise<Float32Array[]>;
  /**
   * Moves one sequence on, and gives what the output head would read of each token: the last layer's states behind the final
   * norm. For embeddings; an engine may be without.
   *
   * @returns row-major [tokens, C]
   * @throws as forward
   */
  hiddenStates?(sequence: Sequence, tokens: ArrayLike<number>): Promise<Float32Array>;
  dispose(): void;
}

/** For engines: refuses what `forward` may not take, before anything has changed. @throws UsageError, DataError */
export function checkBatch(
  engine: Pick<Engine, "vocabSize" | "contextLength">,
  batch: readonly Work[],
  grows = false,
): void {
  const seen = new Set<Sequence>();
  for (const { sequence, tokens, logits, into } of batch) {
    if (seen.has(sequence)) throw new UsageError("engine: a sequence stands twice in one batch");
    seen.add(sequence);
    if (tokens.length === 0) throw new UsageError("engine: no tokens came for a sequence; expected one at least");
    if (!grows && sequence.length + tokens.length > engine.contextLength)
      throw new UsageError(
        `engine: ${sequence.length} and ${tokens.length} tokens do not fit the context of ${engine.contextLength}`,
      );
    const values = rowsWanted({ tokens, logits }) * engine.vocabSize;
    if (into && into.length !== values)
      throw new UsageError(`engine: "into" has room for ${into.length} logits; expected ${values}`);
    for (let i = 0; i < tokens.length; i++)
      if (!(Number.isInteger(tokens[i]) && tokens[i] >= 0 && tokens[i] < engine.vocabSize))
        throw new DataError(
          `engine: token ${tokens[i]} is outside the vocabulary of ${engine.vocabSize}; was the text encoded with another tokenizer?`,
        );
  }
}

/** For sequences: refuses a length to truncate to. @throws UsageError */
export function checkLength(length: number, present: number): void {
  if (!(Number.isInteger(length) && length >= 0 && length <= present))
    throw new UsageError(`sequence: cannot be truncated to ${length} tokens; it has ${present}`);
}
