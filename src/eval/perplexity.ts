/**
 * Perplexity as llama.cpp's llama-perplexity computes it, over an engine, so that figures can be compared with its own and
 * the engine that serves is the one that is judged. (loss.ts scores every token once; this scores part of each window.)
 *
 *   plain    windows of n = contextTokens, one behind the other; of each, the tokens from n/2 + 1 on are scored
 *   strided  windows of n = contextTokens + stride/2, `stride` apart; of each, the last `stride` tokens are scored
 *
 * The first token of every window is replaced by the start token, where there is one. PPL = exp(mean nats); ± is its
 * standard error, PPL · sqrt(variance / (count - 1)). Source: llama.cpp, tools/perplexity/perplexity.cpp.
 */
import type { Engine } from "../infer/index.ts";
import { logProbability } from "../infer/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";

export interface PerplexityOptions {
  /** Tokens of a window; default 512, or the model's context if that is less. */
  contextTokens?: number;
  /** Above 0: strided windows. */
  stride?: number;
  /** Score only the first so many windows. */
  chunks?: number;
  /** Stands in place of each window's first token; null: the text's own stays. */
  startToken: number | null;
  signal?: AbortSignal;
  /** After each window: its number, of how many, and the perplexity so far. */
  onChunk?: (chunk: number, chunks: number, perplexity: number) => void;
}

export interface PerplexityResult {
  perplexity: number;
  /** Standard error of the perplexity; null for a single token. */
  uncertainty: number | null;
  /** Mean, nats per token. */
  lossNats: number;
  /** Tokens scored. */
  tokens: number;
  chunks: number;
  contextTokens: number;
  stride: number;
}

/** Rows of logits asked for at once: bounds memory where the vocabulary is large. */
const rowsAtOnce = 32;
const tokensAtOnce = 512;

/**
 * @param tokens the text's, the start token first where llama.cpp's tokenizer would put it
 * @throws DataError for a text shorter than two windows, or a loss that is not finite; UsageError for sizes that do not fit
 */
export async function evaluatePerplexity(
  engine: Engine,
  tokens: ArrayLike<number>,
  options: PerplexityOptions,
): Promise<PerplexityResult> {
  const { stride = 0, startToken, signal, onChunk } = options;
  const base = options.contextTokens ?? Math.min(512, engine.contextLength - Math.floor(stride / 2));
  for (const [name, value, least] of [
    ["contextTokens", base, 2],
    ["stride", stride, 0],
    ["chunks", options.chunks ?? 1, 1],
  ] as const)
    if (!(Number.isSafeInteger(value) && value >= least))
      throw new UsageError(`perplexity: ${name} is ${value}; expected a whole number from ${least}`);
  const n = base + Math.floor(stride / 2);
  if (n > engine.contextLength)
    throw new UsageError(
      `perplexity: a window has ${n} tokens${stride > 0 ? " (half a stride added)" : ""}, the model's context ${engine.contextLength}; take fewer`,
    );
  if (stride >= n) throw new UsageError(`perplexity: stride is ${stride}, as long as a window of ${n}; take less`);
  if (tokens.length < 2 * n)
    throw new DataError(
      `perplexity: the text has ${tokens.length} tokens; two windows of ${n} are needed at least: take a longer text or a smaller context`,
    );
  const most = stride > 0 ? Math.ceil((tokens.length - n) / stride) : Math.floor(tokens.length / n);
  const chunks = Math.min(options.chunks ?? most, most);
  // Places whose next token is scored.
  const first = stride > 0 ? n - stride - 1 : Math.floor(n / 2);
  let nats = 0;
  let squares = 0;
  let count = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    const start = chunk * (stride > 0 ? stride : n);
    const window = Array.prototype.slice.call(tokens, start, start + n) as number[];
    if (startToken !== null) window[0] = startToken;
    const next = Array.prototype.slice.call(tokens, start + 1, start + n) as number[];
    for await (const { place, logits } of windowLogits(engine, window, first, signal)) {
      const loss = -logProbability(logits, next[place]);
      if (!Number.isFinite(loss))
        throw new DataError(
          `perplexity: the loss of token ${next[place]} at ${start + place + 1} is ${loss}; the model's weights are damaged or its training diverged`,
        );
      nats += loss;
      squares += loss * loss;
      count++;
    }
    onChunk?.(chunk + 1, chunks, Math.exp(nats / count));
  }
  const lossNats = nats / count;
  const perplexity = Math.exp(lossNats);
  const variance = Math.max(0, squares / count - lossNats * lossNats);
  const uncertainty = count > 1 ? perplexity * Math.sqrt(variance / (count - 1)) : null;
  return { perplexity, uncertainty, lossNats, tokens: count, chunks, contextTokens: n, stride };
}

/** The logits behind each place from `first` to the last but one. */
async function* windowLogits(
  engine: Engine,
  window: readonly number[],
  first: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ place: number; logits: Float32Array }> {
  const V = engine.vocabSize;
  const sequence = engine.createSequence();
  try {
    const end = window.length - 1; // the last token only is predicted
    for (let at = 0; at < end; ) {
      signal?.throwIfAborted();
      await nextTurn();
      const scored = at >= first;
      const upTo = scored ? Math.min(end, at + rowsAtOnce) : Math.min(first, at + tokensAtOnce);
      const work = { sequence, tokens: window.slice(at, upTo), logits: scored ? ("all" as const) : ("none" as const) };
      const [logits] = await engine.forward([work]);
      if (scored)
        for (let i = 0; i < upTo - at; i++) yield { place: at + i, logits: logits.subarray(i * V, (i + 1) * V) };
      at = upTo;
    }
  } finally {
    sequence.dispose();
  }
}
