/**
 * Embeddings of texts: the mean over a text's tokens of the last hidden states, behind the final norm, scaled to length 1
 * (what llama.cpp's `--pooling mean` gives). A language model was not trained for them; docs/serving.md says what they are
 * good for. Called by engine-host.ts.
 */
import type { Engine } from "../infer/index.ts";
import { DataError, UnsupportedError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";

/** Tokens in one pass: texts that are being written wait for no more than that. */
const pieceTokens = 128;

/**
 * The hidden states of a text, [tokens, C].
 *
 * @param startToken put before the text unless it begins with it; null: nothing
 * @throws UnsupportedError where the engine has none to give; DataError for a text that is empty or longer than the context;
 *   the signal's reason
 */
export async function embedText(
  engine: Engine,
  ids: ArrayLike<number>,
  startToken: number | null,
  signal?: AbortSignal,
): Promise<{ states: Float32Array[]; tokens: number }> {
  if (!engine.hiddenStates) throw new UnsupportedError("this engine does not give hidden states, so no embeddings");
  const tokens = Array.from(ids);
  if (tokens.length === 0) throw new DataError("an embedding is asked for of an empty text; give at least one token");
  if (startToken !== null && tokens[0] !== startToken) tokens.unshift(startToken);
  if (tokens.length > engine.contextLength)
    throw new DataError(
      `the text has ${tokens.length} tokens, the model's context ${engine.contextLength}; shorten it`,
    );
  const sequence = engine.createSequence();
  try {
    const states: Float32Array[] = [];
    for (let at = 0; at < tokens.length; at += pieceTokens) {
      await nextTurn(); // texts and cancellations have their turn
      signal?.throwIfAborted();
      states.push(await engine.hiddenStates(sequence, tokens.slice(at, at + pieceTokens)));
    }
    return { states, tokens: tokens.length };
  } finally {
    sequence.dispose();
  }
}

/**
 * mean over tokens, then x / |x| (a zero vector stays one).
 *
 * @param pieces row-major [tokens of the piece, C]
 * @param tokens in all pieces
 * @returns [C]
 */
export function meanPooled(pieces: readonly Float32Array[], tokens: number): Float32Array {
  const width = pieces.reduce((sum, { length }) => sum + length, 0) / tokens;
  const sums = new Float64Array(width);
  for (const piece of pieces) for (let i = 0; i < piece.length; i++) sums[i % width] += piece[i];
  const length = Math.hypot(...sums);
  return Float32Array.from(sums, (x) => (length > 0 ? x / length : 0));
}

/** The same engine, whose passes wait for each other. */
export function oneAtATime(engine: Engine): Engine {
  let before: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(pass: () => Promise<T>): Promise<T> => {
    const mine = before.then(pass);
    before = mine.catch(() => {});
    return mine;
  };
  const { hiddenStates } = engine;
  return {
    vocabSize: engine.vocabSize,
    contextLength: engine.contextLength,
    createSequence: () => engine.createSequence(),
    forward: (batch) => inTurn(() => engine.forward(batch)),
    ...(hiddenStates
      ? { hiddenStates: (sequence, tokens) => inTurn(() => hiddenStates.call(engine, sequence, tokens)) }
      : {}),
    dispose: () => engine.dispose(),
  };
}
