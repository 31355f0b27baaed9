/**
 * Text from a model, token by token: the prompt goes through once (prefill), then each new token alone, with the keys and
 * values of those before it in a sequence. One text at a time; scheduler.ts does several at once. Called by cli/, eval/
 * and, for samples, by what runs a training.
 */
import { nextTurn } from "../platform/turn.ts";
import type { Engine } from "./engine.ts";
import type { PromptCache } from "./prompt-cache.ts";
import type { PromptToken } from "./prompt-scores.ts";
import { Slot } from "./slot.ts";
import {
  type GeneratedToken,
  type GenerateOptions,
  type GenerationReport,
  type TextTokenizer,
  Writer,
} from "./writer.ts";

/** Can be iterated once. */
export interface Generation extends AsyncIterable<GeneratedToken> {
  /** How far it has come; `finish` is null until it has ended. */
  readonly report: GenerationReport;
  /** The prompt's tokens, the start token first. */
  readonly promptIds: readonly number[];
  /** Log-probabilities of the prompt's tokens, as far as they are known; empty unless `promptAlternatives` asks for them. */
  readonly promptTokens: readonly PromptToken[];
}

export interface SingleOptions extends GenerateOptions {
  /** Where the prompt's beginning may be known from, and this text is kept for the next. */
  cache?: PromptCache;
}

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
  engine: Engine,
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  options: SingleOptions,
): Generation {
  const writer = new Writer(engine, tokenizer, prompt, options);
  let begun = false;
  return {
    report: writer.report,
    promptIds: writer.promptIds,
    promptTokens: writer.promptScores?.tokens ?? [],
    [Symbol.asyncIterator]() {
      if (begun) throw new Error("generate: a text can be iterated once; call generate again");
      begun = true;
      return run(engine, writer, options);
    },
  };
}

/** The whole text and its report, for callers that do not stream. The end-of-text token is among the ids. */
export async function generateText(
  engine: Engine,
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  options: SingleOptions,
): Promise<{ text: string; ids: number[]; report: GenerationReport }> {
  const generation = generate(engine, tokenizer, prompt, options);
  const ids: number[] = [];
  let text = "";
  for await (const token of generation) {
    ids.push(token.id);
    text += token.text;
  }
  return { text, ids, report: generation.report };
}

async function* run(engine: Engine, writer: Writer, { signal, cache }: SingleOptions): AsyncGenerator<GeneratedToken> {
  if (writer.report.finish) return;
  // A cached beginning has no logits any more.
  const known = writer.promptScores ? undefined : cache?.take(writer.promptIds);
  const slot = new Slot(engine, known ?? engine.createSequence(), writer);
  /** Whether the sequence holds what it should: not while, or after, a pass failed. */
  let sound = true;
  try {
    writer.begin();
    while (!slot.finished) {
      await nextTurn();
      if (signal?.aborted) break;
      sound = false;
      const [logits] = await engine.forward([slot.work(prefillTokens)]);
      const tokens = slot.take(logits);
      sound = true;
      for (const token of tokens) {
        yield token;
        if (signal?.aborted) break;
      }
    }
  } finally {
    writer.report.finish ??= "aborted";
    if (cache && sound) cache.give(slot.held, slot.sequence);
    else slot.dispose();
  }
}
