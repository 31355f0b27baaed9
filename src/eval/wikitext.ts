/**
 * WikiText-2 perplexity by words, at document level: lm-evaluation-harness's task `wikitext`. Each page is scored from its
 * first token with rolling windows; words and bytes are those of the page before detokenisation. Pages, words, bytes and
 * the detokeniser are data/wikitext2.ts.
 */
import { countBytes, countWords, detokenizeWikiText } from "../corpus/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import type { Engine } from "../infer/engine.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { scoreWindowsByEngine } from "./log-likelihood.ts";
import { type RollingWindow, rollingWindows } from "./rolling-windows.ts";
import { type Progress, type ScoringModel, scoreBatch, unscored } from "./score.ts";

export interface WikiTextOptions {
  /** Windows at once. */
  batch: number;
  /** T of the windows; by default the model's context. */
  sequence?: number;
  /** What a page's first token is predicted from; by default bos as in the harness, else end-of-text. */
  startToken?: number | null;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface WikiTextResult {
  /** exp(nats / words): document-level word perplexity. */
  wordPerplexity: number;
  /** exp(nats / bytes) */
  bytePerplexity: number;
  /** nats / (ln 2 · bytes) */
  bitsPerByte: number;
  /** exp(nats / tokens): per token of this model's tokenizer. */
  tokenPerplexity: number;
  lossNats: number;
  tokens: number;
  words: number;
  bytes: number;
  pages: number;
  sequence: number;
}

/**
 * What a page's first token is predicted from, as WikiTextOptions.startToken: end-of-text for a model trained here, else null,
 * which leaves it to the harness's rule.
 */
export const pageStartOf = (step: number | null, { endOfText }: Pick<Tokenizer, "endOfText">): number | null =>
  step === null ? null : endOfText;

/**
 * @param by    the training-time model, or an engine as it writes: with its types of head and cache
 * @param pages of readPages or readDocuments, as they stand in the file
 * @throws DataError for no page, a tokenizer with neither end-of-text nor bos, or a loss that is not finite; UsageError for
 *   a sequence over the model's context
 */
export async function evaluateWikiText(
  by: ScoringModel | Engine,
  tokenizer: Pick<Tokenizer, "encode" | "bos" | "endOfText" | "vocabSize">,
  pages: AsyncIterable<string> | Iterable<string>,
  options: WikiTextOptions,
): Promise<WikiTextResult> {
  const { contextLength, vocabSize } = "loss" in by ? by.config : by;
  const { batch, sequence = contextLength, signal, onProgress } = options;
  for (const [name, value] of Object.entries({ batch, sequence }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new UsageError(`${name} is ${value}; expected a whole number from 1`);
  if (sequence > contextLength)
    throw new UsageError(`sequence is ${sequence}, but the model's context is ${contextLength}`);
  if (tokenizer.vocabSize > vocabSize)
    throw new DataError(
      `the tokenizer has ${tokenizer.vocabSize} tokens, the model ${vocabSize}; use the tokenizer that the model was trained with`,
    );
  const prefix = options.startToken ?? tokenizer.bos ?? tokenizer.endOfText;
  if (prefix === null)
    throw new DataError("the tokenizer has neither a begin-of-text nor an end-of-text token to start pages from");

  let nats = 0;
  let tokens = 0;
  let words = 0;
  let bytes = 0;
  let pageCount = 0;
  let waiting: RollingWindow[] = [];
  const score = async () => {
    signal?.throwIfAborted();
    nats += "loss" in by ? await scoreWindows(by, waiting, prefix) : await scoreWindowsByEngine(by, waiting);
    for (const { targets } of waiting) tokens += targets.length;
    waiting = [];
    onProgress?.({ tokens, totalTokens: undefined });
  };
  for await (const page of pages) {
    pageCount++;
    words += countWords(page);
    bytes += countBytes(page);
    for (const window of rollingWindows(tokenizer.encode(detokenizeWikiText(page)), prefix, sequence)) {
      waiting.push(window);
      if (waiting.length === batch) await score();
    }
  }
  if (waiting.length > 0) await score();
  if (tokens === 0) throw new DataError("there is no page to score; is it a WikiText file?");
  return {
    wordPerplexity: Math.exp(nats / words),
    bytePerplexity: Math.exp(nats / bytes),
    bitsPerByte: nats / (Math.LN2 * bytes),
    tokenPerplexity: Math.exp(nats / tokens),
    lossNats: nats / tokens,
    tokens,
    words,
    bytes,
    pages: pageCount,
    sequence,
  };
}

/** Nats of all the windows' targets. */
async function scoreWindows(model: ScoringModel, windows: readonly RollingWindow[], filler: number): Promise<number> {
  const length = Math.max(...windows.map(({ input }) => input.length));
  const tokens = new Int32Array(windows.length * length).fill(filler);
  const targets = new Int32Array(windows.length * length).fill(unscored);
  for (const [row, window] of windows.entries()) {
    tokens.set(window.input, row * length);
    targets.set(window.targets, row * length + window.input.length - window.targets.length);
  }
  const losses = await scoreBatch(model, { tokens, batch: windows.length, length }, targets);
  return losses.reduce((sum, loss) => sum + loss, 0);
}
