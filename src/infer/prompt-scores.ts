/**
 * Log-probabilities of a prompt's own tokens, collected while the prompt is prefilled: what `echo` with `logprobs` answers
 * and what multiple choice by log-likelihood reads. Fed by slot.ts, read by the server once the prompt is done.
 */
import { DataError } from "../platform/errors.ts";
import { largestIds, logSumExp, type TokenProbability } from "./samplers.ts";

/** A token of the prompt. */
export interface PromptToken {
  id: number;
  /** ln of the probability that the model gives it behind those before it, in nats; null of the first, which has none. */
  logProbability: number | null;
  /** The most probable tokens at its place, the most probable first. */
  alternatives: readonly TokenProbability[];
}

/** Bytes of logits that one prompt asks for in one pass: a long prompt over a large vocabulary is cut into smaller pieces. */
const passBytes = 16 * 1024 * 1024;

export class PromptScores {
  readonly tokens: PromptToken[] = [];

  /** @param wanted alternatives of each place */
  constructor(
    private readonly ids: readonly number[],
    private readonly wanted: number,
  ) {
    this.tokens.push({ id: ids[0], logProbability: null, alternatives: [] });
  }

  get complete(): boolean {
    return this.tokens.length === this.ids.length;
  }

  /** Tokens of the prompt for one pass, at most `budget`. */
  static piece(budget: number, vocabSize: number): number {
    return Math.max(1, Math.min(budget, Math.floor(passBytes / (4 * vocabSize))));
  }

  /**
   * Scores the next token of the prompt.
   *
   * @param logits [V], behind the token before it; not changed
   * @throws DataError for logits that are not finite
   */
  push(logits: Float32Array): void {
    const id = this.ids[this.tokens.length];
    const total = logSumExp(logits);
    if (!Number.isFinite(total))
      throw new DataError("generate: the model's logits are not finite; was its training cut short by NaN?");
    const likeliest = this.wanted > 0 ? largestIds(logits, this.wanted) : [];
    this.tokens.push({
      id,
      logProbability: logits[id] - total,
      alternatives: Array.from(likeliest, (other) => ({ id: other, logProbability: logits[other] - total })),
    });
  }
}
