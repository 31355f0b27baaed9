/**
 * One text as it is written: from the logits of a place to the token that comes there, its text, and whether the text
 * ends with it. Knows settings, grammar, stop strings and the report; not how logits are come by (slot.ts, beam.ts).
 */

import type { Clock } from "../platform/clock.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { createRandom, type Random } from "../platform/random.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { Engine } from "./engine.ts";
import type { MatcherState } from "./grammar/matcher.ts";
import type { Grammar, TokenGrammar } from "./grammar/token-mask.ts";
import { PromptScores } from "./prompt-scores.ts";
import {
  checkSampling,
  largestIds,
  logSumExp,
  pickSampling,
  type SamplingOptions,
  sampleToken,
  type TokenProbability,
} from "./samplers.ts";
import { withStartToken } from "./start-token.ts";
import { createStopStrings, type StopStrings } from "./stop-strings.ts";
import { createTextStream, type TextStream } from "./text-stream.ts";
import { tokenlessMask } from "./tokenless.ts";

/** What generation needs of a tokenizer; `bytesOf` for grammars alone, `tokenOf` for vocabularies with gaps. */
export type TextTokenizer = Pick<Tokenizer, "encode" | "decode" | "vocabSize" | "bos" | "eos" | "endOfText"> &
  Partial<Pick<Tokenizer, "bytesOf" | "tokenOf">>;

export interface GenerateOptions extends Partial<SamplingOptions> {
  /** Tokens to write at most. */
  maxTokens: number;
  /** What draws; needed unless temperature is 0 or a seed is given. */
  random?: Random;
  /** Seeds the draws, in place of `random`: the same seed, settings and logits give the same text. */
  seed?: number;
  /** Tokens that end the text; by default the tokenizer's end-of-text and eos. */
  stopTokens?: readonly number[];
  /** Strings that end the text; they are not part of it. */
  stopStrings?: readonly string[];
  /** Put before the prompt unless it begins with it; by default bos, else end-of-text; null: nothing. */
  startToken?: number | null;
  /** What may be written. The text keeps to it whatever the sampling; see grammar/token-mask.ts for maxTokens. */
  grammar?: Grammar;
  /** Tell the so many likeliest tokens of each place beside the one that came; default 0. */
  alternatives?: number;
  /**
   * Also tell the log-probabilities of the prompt's own tokens, with so many of the most probable at each place (`promptScores`
   * of the writer). The prompt is then prefilled whole, and with maxTokens 0 too. Default: not told.
   */
  promptAlternatives?: number;
  /**
   * Where the context is full: "stop" (default), or "slide": half of what stands behind the first `keepTokens` is
   * forgotten, the rest is read again at its new place, and the text goes on. With an engine whose cache is a ring it goes
   * on anyway, and nothing is read again.
   */
  contextEnd?: "stop" | "slide";
  /** Of the prompt, kept when sliding (default 0; the start token is always kept); -1: all of it. */
  keepTokens?: number;
  /** Check up to so many drafted tokens in one pass (speculative decoding by prompt lookup); default 0. */
  draftTokens?: number;
  /** Aborting ends the text after the token under way. */
  signal?: AbortSignal;
  /** For the report's times; without it they are null. */
  clock?: Clock;
}

export interface GeneratedToken extends TokenProbability {
  /** The characters that this token lets out; "" amid a character or a possible stop string. Joined, they are the text. */
  text: string;
  /** The likeliest tokens here, as many as asked for. */
  alternatives: readonly TokenProbability[];
}

/**
 * Why the text ended: the model said so; a stop string came; what the grammar describes is complete; `maxTokens` were
 * written; the model's context is full; the signal, or the reader left.
 */
export type FinishReason = "end-of-text" | "stop-string" | "grammar" | "length" | "context" | "aborted";

export interface GenerationReport {
  finish: FinishReason | null;
  /** Of finish "stop-string", which. */
  stopString: string | null;
  /** The start token included. */
  promptTokens: number;
  /** Of these, found in a cache and not read again. */
  cachedTokens: number;
  /** The end-of-text token included. */
  generatedTokens: number;
  /** Of speculative decoding: tokens proposed, and of them right. */
  draftedTokens: number;
  acceptedTokens: number;
  /** Before it was begun, where it had to wait for its turn. */
  queuedMs: number | null;
  promptMs: number | null;
  generationMs: number | null;
  promptTokensPerSecond: number | null;
  /** Of the tokens after the first, which comes out of the prompt's pass. */
  generationTokensPerSecond: number | null;
}

type Facts = Pick<Engine, "vocabSize" | "contextLength">;

export class Writer {
  readonly promptIds: readonly number[];
  readonly report: GenerationReport;
  /** All tokens, the prompt's first. */
  readonly seen: number[];
  /** Where `promptAlternatives` asks for them: complete once the prompt is prefilled. */
  readonly promptScores: PromptScores | null;
  /** Why nothing is to be written at all: no tokens asked for, or a grammar of nothing; null: something is. */
  private readonly nothing: FinishReason | null;
  private readonly sampling: SamplingOptions;
  private readonly random: Pick<Random, "uniform">;
  private readonly stops: ReadonlySet<number>;
  private readonly stream: TextStream;
  private readonly stopStrings: StopStrings;
  private readonly grammar: TokenGrammar | null;
  private state: MatcherState | null;
  private readonly measure: (begin?: boolean) => void;
  /** The logits as they came, for what sampling changes them. */
  private readonly own: Float32Array;
  private readonly forbidTokenless: (logits: Float32Array) => void;

  /**
   * @throws UsageError for settings out of range; DataError for a prompt that does not fit the context or the vocabulary, or
   *   where there is nothing to start from; UnsupportedError for a grammar over a tokenizer whose tokens have no bytes
   */
  constructor(
    engine: Facts,
    tokenizer: TextTokenizer,
    prompt: string | ArrayLike<number>,
    readonly options: GenerateOptions,
  ) {
    this.sampling = pickSampling(options);
    checkSampling(this.sampling, engine.vocabSize);
    checkOptions(options);
    this.random = randomOf(options, this.sampling.temperature);
    if (tokenizer.vocabSize > engine.vocabSize)
      throw new DataError(
        `generate: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${engine.vocabSize}; use the tokenizer that the model was trained with`,
      );
    this.promptIds = promptTokens(tokenizer, prompt, options.startToken);
    const { contextLength, vocabSize } = engine;
    this.own = new Float32Array(vocabSize);
    this.forbidTokenless = tokenlessMask(tokenizer, vocabSize);
    const strange = this.promptIds.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
    if (strange !== undefined)
      throw new DataError(`generate: the prompt's token ${strange} is outside the vocabulary of ${vocabSize}`);
    if (this.promptIds.length > contextLength)
      throw new DataError(
        `generate: the prompt has ${this.promptIds.length} tokens, the model's context ${contextLength}; shorten the prompt`,
      );
    this.stops = new Set(options.stopTokens ?? [tokenizer.endOfText, tokenizer.eos].filter((id) => id !== null));
    this.stopStrings = createStopStrings(options.stopStrings ?? []);
    this.stream = createTextStream(tokenizer, this.promptIds);
    this.grammar = options.grammar?.over(tokenizer) ?? null;
    this.state = this.grammar?.start ?? null;
    this.seen = [...this.promptIds];
    this.report = {
      finish: null,
      stopString: null,
      promptTokens: this.promptIds.length,
      cachedTokens: 0,
      generatedTokens: 0,
      draftedTokens: 0,
      acceptedTokens: 0,
      queuedMs: null,
      promptMs: null,
      generationMs: null,
      promptTokensPerSecond: null,
      generationTokensPerSecond: null,
    };
    this.promptScores =
      options.promptAlternatives === undefined ? null : new PromptScores(this.promptIds, options.promptAlternatives);
    this.nothing = this.state?.complete ? "grammar" : options.maxTokens === 0 ? "length" : null;
    if (!this.promptScores) this.report.finish = this.nothing;
    this.measure = createMeasure(this.report, options.clock);
  }

  /** Tokens that may still be written. */
  get tokensLeft(): number {
    return this.options.maxTokens - this.report.generatedTokens;
  }

  /** Ends a text of which only the prompt was wanted, once that is prefilled. True: it has ended. */
  endWithPrompt(): boolean {
    if (this.nothing === null) return false;
    this.report.finish = this.nothing;
    this.measure();
    return true;
  }

  /** Starts the report's clock: the prompt is read from now on. */
  begin(): void {
    this.measure(true);
  }

  /**
   * The next token, from the logits behind those before it.
   *
   * @param logits [V]; changed
   * @param room   tokens that can still be written before the context is full, this one included
   * @throws DataError for logits that are not finite, or where the vocabulary cannot spell what the grammar wants
   */
  accept(logits: Float32Array, room: number): GeneratedToken {
    const { report, options, stops } = this;
    this.forbidTokenless(logits);
    // Taken before sampling changes the logits.
    const wanted = options.alternatives ?? 0;
    const total = logSumExp(logits);
    const likeliest = wanted > 0 ? largestIds(logits, wanted) : [];
    const alternatives = Array.from(likeliest, (id) => ({ id, logProbability: logits[id] - total })).filter(
      ({ logProbability }) => logProbability > Number.NEGATIVE_INFINITY,
    );
    this.own.set(logits);
    const left = Math.min(this.tokensLeft, room);
    const id = sampleToken(logits, this.seen, this.sampling, this.random, (masked) => this.mask(masked, left));
    const logProbability = this.own[id] - total;
    this.seen.push(id);
    report.generatedTokens++;
    this.measure();

    if (stops.has(id)) report.finish = "end-of-text";
    else if (this.grammar && this.state) {
      this.state = this.grammar.next(this.state, id);
      if (this.state?.complete) report.finish = "grammar";
    }
    let text = "";
    if (!stops.has(id)) {
      const pushed = this.stopStrings.push(this.stream.push(id));
      text = pushed.text;
      if (pushed.stopped !== null) {
        report.finish = "stop-string";
        report.stopString = pushed.stopped;
      }
    }
    if (!report.finish && this.tokensLeft === 0) report.finish = "length";
    if (!report.finish && room <= 1) report.finish = "context";
    if (report.finish && report.finish !== "stop-string") {
      const pushed = this.stopStrings.push(this.stream.finish());
      text += pushed.text + this.stopStrings.finish();
    }
    return { id, text, logProbability, alternatives };
  }

  private mask(logits: Float32Array, left: number): void {
    if (!this.grammar || !this.state) return;
    if (this.grammar.mask(logits, this.state, this.stops, left) === 0)
      throw new DataError(
        "generate: the vocabulary has no token that goes on as the grammar wants; does it lack some of the grammar's characters?",
      );
  }
}

function checkOptions(options: GenerateOptions): void {
  const whole = (
    name: "maxTokens" | "alternatives" | "promptAlternatives" | "draftTokens" | "keepTokens",
    least: number,
  ) => {
    const value = options[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least))
      throw new UsageError(`generate: ${name} is ${value}; expected a whole number from ${least}`);
  };
  if (options.maxTokens === undefined) throw new UsageError("generate: maxTokens is missing");
  whole("maxTokens", 0);
  whole("alternatives", 0);
  whole("promptAlternatives", 0);
  whole("draftTokens", 0);
  whole("keepTokens", -1);
  const { contextEnd } = options;
  if (contextEnd !== undefined && contextEnd !== "stop" && contextEnd !== "slide")
    throw new UsageError(`generate: contextEnd is ${JSON.stringify(contextEnd)}; expected "stop" or "slide"`);
}

function randomOf({ random, seed }: GenerateOptions, temperature: number): Pick<Random, "uniform"> {
  if (random) return random;
  if (seed !== undefined) {
    if (!Number.isSafeInteger(seed)) throw new UsageError(`generate: seed is ${seed}; expected a whole number`);
    return createRandom(seed);
  }
  if (temperature > 0) throw new UsageError("generate: give a seed, or random, or temperature 0: something must draw");
  return createRandom(0);
}

/** The prompt's tokens: a text's behind the start token, ids as they are. */
export function promptTokens(
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  startToken: number | null = tokenizer.bos ?? tokenizer.endOfText,
): number[] {
  const ids = typeof prompt === "string" ? withStartToken(tokenizer.encode(prompt), startToken) : Array.from(prompt);
  if (ids.length === 0)
    throw new DataError(
      "generate: the prompt is empty and there is no token to start from; give a prompt, or a start token",
    );
  return ids;
}

/** Keeps the report's times: called as the prompt is begun and after each token, the first of which ends the prompt's. */
function createMeasure(report: GenerationReport, clock: Clock | undefined): (begin?: boolean) => void {
  if (!clock) return () => {};
  const perSecond = (count: number, ms: number) => (count > 0 && ms > 0 ? (1000 * count) / ms : null);
  let start: number | null = null;
  let first: number | null = null;
  return (begin = false) => {
    const now = clock.monotonicMs();
    start ??= now;
    if (begin) return;
    first ??= now;
    report.promptMs = first - start;
    report.promptTokensPerSecond = perSecond(report.promptTokens - report.cachedTokens, report.promptMs);
    report.generationMs = now - first;
    report.generationTokensPerSecond = perSecond(report.generatedTokens - 1, report.generationMs);
  };
}
