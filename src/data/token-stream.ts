/**
 * A token stream: all tokens of a split as one sequence that is read by position, so that memory does not grow with it.
 * Shards on disk are one (shards.ts), an array in memory another. Batches are cut from it.
 */
import { DataError } from "../platform/errors.ts";

export interface TokenStream {
  /** Tokens, each document's end-of-text token included. */
  readonly tokenCount: number;
  readonly documentCount: number;
  /** UTF-8 bytes of the documents' text; end-of-text tokens stand for no byte. What bits per byte divides by. */
  readonly textBytes: number;
  readonly vocabSize: number;
  /** The token behind every document. */
  readonly endOfText: number;
  /** Names the content: a saved position is only good for the stream it was saved on. */
  readonly identity: string;
  /**
   * Present where documents were fitted into sequences (best-fit packing): T, and how many tokens of a sequence are
   * documents'; end-of-text tokens fill up the rest. Sequences are then cut at multiples of T and are whole by themselves.
   */
  readonly fitted?: { readonly sequence: number; usedOf(row: number): number };
  /** Fills the whole of `target` with the tokens from `position` on. */
  read(position: number, target: Int32Array): void;
  close(): void;
}

/**
 * A stream over tokens in memory, for generated sets and tests. `tokens` is kept, not copied.
 *
 * @throws DataError if it is empty or holds a token outside the vocabulary
 */
export function streamOfTokens(
  tokens: ArrayLike<number>,
  about: { vocabSize: number; endOfText: number; textBytes?: number; identity?: string },
): TokenStream {
  let documentCount = 0;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (!(Number.isInteger(token) && token >= 0 && token < about.vocabSize))
      throw new DataError(
        `token ${i} is ${token}; expected an integer from 0 to ${about.vocabSize - 1} (the vocabulary)`,
      );
    if (token === about.endOfText) documentCount++;
  }
  if (tokens.length === 0) throw new DataError("there are no tokens to train or evaluate on");
  return {
    tokenCount: tokens.length,
    documentCount,
    textBytes: about.textBytes ?? 0,
    vocabSize: about.vocabSize,
    endOfText: about.endOfText,
    identity: about.identity ?? `memory:${tokens.length}`,
    read(position, target) {
      if (position < 0 || position + target.length > tokens.length)
        throw new Error(`tokens ${position} to ${position + target.length} asked of ${tokens.length}`);
      for (let i = 0; i < target.length; i++) target[i] = tokens[position + i];
    },
    close() {},
  };
}

/** The tokens [from, to) of a stream, which stays the caller's to close; the bytes of a part are not known. */
export function sliceOfStream(stream: TokenStream, from: number, to: number): TokenStream {
  let documents: number | undefined;
  return {
    tokenCount: to - from,
    get documentCount() {
      documents ??= countTokens(stream, from, to, stream.endOfText);
      return documents;
    },
    textBytes: 0,
    vocabSize: stream.vocabSize,
    endOfText: stream.endOfText,
    identity: `${stream.identity}[${from},${to})`,
    read(position, target) {
      if (position < 0 || position + target.length > to - from)
        throw new Error(`tokens ${position} to ${position + target.length} asked of ${to - from}`);
      stream.read(from + position, target);
    },
    close() {},
  };
}

function countTokens(stream: TokenStream, from: number, to: number, wanted: number): number {
  let count = 0;
  const piece = new Int32Array(1 << 14);
  for (let at = from; at < to; at += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, to - at));
    stream.read(at, part);
    for (const token of part) if (token === wanted) count++;
  }
  return count;
}
