/**
 * Text from a model, token by token: the prompt goes through once (prefill), then each new token alone, with the keys and
 * values of those before it in a cache. One sequence at a time. Called by cli/ and, for samples, by what runs a training.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import type { Random } from "../platform/random.ts";
import type { Clock } from "../platform/system.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Cache, Transformer } from "../model/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { checkSampling, logProbability, type SamplingOptions, sampleToken, samplingDefaults } from "./samplers.ts";
import { createTextStream } from "./text-stream.ts";

export interface GenerateOptions extends Partial<SamplingOptions> {
  /** Tokens to write at most. */
  maxTokens: number;
  /** What draws; not used at temperature 0. */
  random: Random;
  /** Tokens that end the text; by default the tokenizer's end-of-text and eos. */
  stopTokens?: readonly number[];
  /** Put before the prompt unless it begins with it; by default bos, else end-of-text; null: nothing. */
  startToken?: number | null;
  /** Aborting ends the text after the token under way. */
  signal?: AbortSignal;
  /** For the report's times; without it they are null. */
  clock?: Clock;
}

export interface GeneratedToken {
  id: number;
  /** The characters that this token completes; "" amid a character. Joined, they are the text. */
  text: string;
  /** ln of the probability that the model gives it, whatever the sampling settings, in nats. */
  logProbability: number;
}

/**
 * Why the text ended: the model said so; `maxTokens` were written; the model's context is full (nothing is shifted out:
 * text that no longer sees its beginning is another text); the signal.
 */
export type FinishReason = "end-of-text" | "length" | "context" | "aborted";

export interface GenerationReport {
  finish: FinishReason | null;
  /** The start token included. */
  promptTokens: number;
  /** The end-of-text token included. */
  generatedTokens: number;
  promptMs: number | null;
  generationMs: number | null;
  promptTokensPerSecond: number | null;
  /** Of the tokens after the first, which comes out of the prompt's pass. */
  generationTokensPerSecond: number | null;
}

/** Can be iterated once. */
export interface Generation extends AsyncIterable<GeneratedToken> {
  /** How far it has come; `finish` is null until it has ended. */
  readonly report: GenerationReport;
  /** The prompt's tokens, the start token first. */
  readonly promptIds: readonly number[];
}

type TextModel = Pick<Transformer, "config" | "runtime" | "lastLogits" | "createCache">;
type TextTokenizer = Pick<Tokenizer, "encode" | "decode" | "vocabSize" | "bos" | "eos" | "endOfText">;

/** Prompt tokens in one pass: bounds the memory of a long prompt, and a signal is seen between passes. */
const prefillTokens = 512;

/**
 * Begins a text. Nothing is computed before the first token is asked for.
 *
 * @param prompt text, or its tokens; empty: the start of a document
 * @throws UsageError for settings out of range; DataError for a prompt that does not fit the context or the vocabulary,
 *   or where there is nothing to start from; while iterating, DataError for logits that are not finite
 */
export function generate(
  model: TextModel,
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  options: GenerateOptions,
): Generation {
  const sampling: SamplingOptions = { ...samplingDefaults };
  for (const name of Object.keys(sampling) as (keyof SamplingOptions)[])
    sampling[name] = options[name] ?? sampling[name];
  checkSampling(sampling);
  const { maxTokens } = options;
  if (!(Number.isSafeInteger(maxTokens) && maxTokens >= 0))
    throw new UsageError(`generate: maxTokens is ${maxTokens}; expected a whole number from 0`);
  if (tokenizer.vocabSize > model.config.vocabSize)
    throw new DataError(
      `generate: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${model.config.vocabSize}; use the tokenizer that the model was trained with`,
    );
  const promptIds = promptTokens(tokenizer, prompt, options.startToken);
  const { contextLength } = model.config;
  if (promptIds.length > contextLength)
    throw new DataError(
      `generate: the prompt has ${promptIds.length} tokens, the model's context ${contextLength}; shorten the prompt`,
    );
  const report: GenerationReport = {
    finish: null,
    promptTokens: promptIds.length,
    generatedTokens: 0,
    promptMs: null,
    generationMs: null,
    promptTokensPerSecond: null,
    generationTokensPerSecond: null,
  };
  let begun = false;
  return {
    report,
    promptIds,
    [Symbol.asyncIterator]() {
      if (begun) throw new Error("generate: a text can be iterated once; call generate again");
      begun = true;
      return run(model, tokenizer, promptIds, { ...options, ...sampling }, report);
    },
  };
}

/** The whole text and its report, for callers that do not stream. The end-of-text token is among the ids. */
export async function generateText(
  model: TextModel,
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  options: GenerateOptions,
): Promise<{ text: string; ids: number[]; report: GenerationReport }> {
  const generation = generate(model, tokenizer, prompt, options);
  const ids: number[] = [];
  let text = "";
  for await (const token of generation) {
    ids.push(token.id);
    text += token.text;
  }
  return { text, ids, report: generation.report };
}

/** The prompt's tokens behind the start token. */
function promptTokens(
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  startToken: number | null = tokenizer.bos ?? tokenizer.endOfText,
): number[] {
  const ids = Array.from(typeof prompt === "string" ? tokenizer.encode(prompt) : prompt);
  if (startToken !== null && ids[0] !== startToken) ids.unshift(startToken);
  if (ids.length === 0)
    throw new DataError(
      "generate: the prompt is empty and the tokenizer has neither a begin-of-text nor an end-of-text token to start from; give a prompt",
    );
  return ids;
}

async function* run(
  model: TextModel,
  tokenizer: TextTokenizer,
  promptIds: readonly number[],
  options: GenerateOptions & SamplingOptions,
  report: GenerationReport,
): AsyncGenerator<GeneratedToken> {
  const { maxTokens, signal, clock, random } = options;
  const { contextLength } = model.config;
  const stops = new Set(options.stopTokens ?? [tokenizer.endOfText, tokenizer.eos].filter((id) => id !== null));
  const stream = createTextStream(tokenizer, promptIds);
  const seen = [...promptIds];
  if (maxTokens === 0) {
    report.finish = "length";
    return;
  }
  // The last token written is never read back, so it needs no place.
  const capacity = Math.min(contextLength, promptIds.length + maxTokens - 1);
  const cache = model.createCache(1, capacity);
  const measure = createMeasure(report, clock);
  try {
    let logits = await prefill(model, promptIds, cache, signal);
    while (logits) {
      const own = logits.slice();
      const id = sampleToken(logits, seen, options, random);
      seen.push(id);
      report.generatedTokens++;
      measure();
      if (stops.has(id)) report.finish = "end-of-text";
      else if (report.generatedTokens === maxTokens) report.finish = "length";
      else if (cache.length === contextLength) report.finish = "context";
      let text = stops.has(id) ? "" : stream.push(id);
      if (report.finish) text += stream.finish();
      yield { id, text, logProbability: logProbability(own, id) };
      if (report.finish) return;
      await nextTurn();
      if (signal?.aborted) return;
      logits = await lastLogits(model, [id], cache);
    }
  } finally {
    report.finish ??= "aborted";
    cache.dispose();
  }
}

/** The logits after the prompt; null if the signal came first. */
async function prefill(
  model: TextModel,
  ids: readonly number[],
  cache: Cache,
  signal: AbortSignal | undefined,
): Promise<Float32Array | null> {
  for (let at = 0; ; at += prefillTokens) {
    await nextTurn();
    if (signal?.aborted) return null;
    const piece = ids.slice(at, at + prefillTokens);
    const logits = await lastLogits(model, piece, cache);
    if (at + piece.length === ids.length) return logits;
  }
}

/** Feeds tokens and reads the last one's logits, in memory of the caller's own. */
async function lastLogits(model: TextModel, ids: readonly number[], cache: Cache): Promise<Float32Array> {
  const logits = model.lastLogits({ tokens: Int32Array.from(ids), batch: 1, length: ids.length }, cache);
  try {
    return await model.runtime.readFloats(logits);
  } finally {
    logits.dispose();
  }
}

/** Keeps the report's times: called after each token, the first of which ends the prompt's time. */
function createMeasure(report: GenerationReport, clock: Clock | undefined): () => void {
  if (!clock) return () => {};
  const perSecond = (count: number, ms: number) => (count > 0 && ms > 0 ? (1000 * count) / ms : null);
  const start = clock.monotonicMs();
  let first: number | null = null;
  return () => {
    const now = clock.monotonicMs();
    first ??= now;
    report.promptMs = first - start;
    report.promptTokensPerSecond = perSecond(report.promptTokens, report.promptMs);
    report.generationMs = now - first;
    report.generationTokensPerSecond = perSecond(report.generatedTokens - 1, report.generationMs);
  };
}
