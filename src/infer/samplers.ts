/**
 * From logits to a token: the sampling chain, with the names, meanings and order of llama.cpp, so that settings carry over.
 *
 *   repeat penalty, top-k, top-p, min-p, temperature, draw
 *
 * Each step but the last narrows or reweights what the one before left; probabilities are those of a softmax over what is
 * left. Temperature 0 takes the largest logit after the repeat penalty, and nothing is drawn. Pure functions over one row
 * of logits: called by generate.ts; knows no model.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import type { Random } from "../platform/random.ts";

export interface SamplingOptions {
  /** Divides the logits; 0: the likeliest token, always. */
  temperature: number;
  /** Keep the so many likeliest tokens; 0: all. */
  topK: number;
  /** Keep the likeliest tokens until their probabilities reach this sum; 1: all. */
  topP: number;
  /** Keep tokens at least so probable as this share of the likeliest one; 0: all. */
  minP: number;
  /** Logits of recent tokens are divided (above 0) or multiplied (below) by this; 1: none. */
  repeatPenalty: number;
  /** How many of the last tokens are recent, the prompt's included; 0: none, -1: all. */
  repeatLastN: number;
}

/** llama.cpp's defaults. */
export const samplingDefaults: Readonly<SamplingOptions> = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1,
  repeatLastN: 64,
};

/** Tokens that may come next, the likeliest first (of equals, the smaller id), with probabilities that sum to 1. */
export interface Candidates {
  ids: Int32Array;
  probabilities: Float64Array;
}

/** @throws UsageError naming the option, its range and what came */
export function checkSampling(options: SamplingOptions): void {
  const whole = (x: number) => Number.isSafeInteger(x);
  const rules: [keyof SamplingOptions, boolean, string][] = [
    ["temperature", options.temperature >= 0 && Number.isFinite(options.temperature), "a number from 0 (0 is greedy)"],
    ["topK", whole(options.topK) && options.topK >= 0, "a whole number from 0 (0 keeps all)"],
    ["topP", options.topP >= 0 && options.topP <= 1, "a number from 0 to 1 (1 keeps all)"],
    ["minP", options.minP >= 0 && options.minP <= 1, "a number from 0 to 1 (0 keeps all)"],
    [
      "repeatPenalty",
      options.repeatPenalty > 0 && Number.isFinite(options.repeatPenalty),
      "a number above 0 (1 is off)",
    ],
    ["repeatLastN", whole(options.repeatLastN) && options.repeatLastN >= -1, "a whole number from -1 (-1 is all)"],
  ];
  for (const [name, sound, wanted] of rules)
    if (!sound) throw new UsageError(`sampling: ${name} is ${options[name]}; expected ${wanted}`);
}

/**
 * The largest logit's place; of equals, the first.
 *
 * @throws DataError for NaN or +Infinity, or where every logit is -Infinity: nothing sound can be drawn from them
 */
export function largestLogit(logits: Float32Array): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i];
    if (Number.isNaN(x) || x === Number.POSITIVE_INFINITY)
      throw new DataError(
        `the model's logit of token ${i} is ${x}; its weights are damaged or its training diverged, use an earlier checkpoint`,
      );
    if (x > logits[best]) best = i;
  }
  if (!(logits[best] > Number.NEGATIVE_INFINITY))
    throw new DataError(`all ${logits.length} logits are -Infinity; no token can come next`);
  return best;
}

/**
 * llama.cpp's repeat penalty, in place: each recent token's logit, once, x / penalty if x > 0, else x · penalty.
 */
export function penalizeRepeats(logits: Float32Array, recent: Iterable<number>, penalty: number): void {
  if (penalty === 1) return;
  for (const id of new Set(recent)) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
}

/** Up to so many ids are found by insertion, without sorting the vocabulary. */
const fewIds = 256;

/** The `count` largest logits' ids, the largest first, of equals the smaller id. */
function largestIds(logits: Float32Array, count: number): Int32Array {
  const before = (a: number, b: number) => logits[b] - logits[a] || a - b;
  if (count > fewIds) return Int32Array.from(logits.keys()).sort(before).slice(0, count);
  const ids = new Int32Array(count);
  let length = 0;
  for (let id = 0; id < logits.length; id++) {
    if (length === count && !(logits[id] > logits[ids[length - 1]])) continue;
    let at = length < count ? length++ : length - 1;
    for (; at > 0 && logits[ids[at - 1]] < logits[id]; at--) ids[at] = ids[at - 1];
    ids[at] = id;
  }
  return ids;
}

/** exp(logit - largest) of ids, and their sum. */
function weigh(logits: Float32Array, ids: Int32Array, temperature = 1): { weights: Float64Array; sum: number } {
  const largest = logits[ids[0]];
  const weights = Float64Array.from(ids, (id) => Math.exp((logits[id] - largest) / temperature));
  return { weights, sum: weights.reduce((a, b) => a + b, 0) };
}

/** How many of the likeliest ids reach the probability p together, at least one. */
function nucleusSize(logits: Float32Array, ids: Int32Array, p: number, total: number): number {
  const { weights } = weigh(logits, ids);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i];
    if (sum >= p * total) return i + 1;
  }
  return ids.length;
}

/**
 * Top-k, top-p, min-p and temperature: what may be drawn and how likely each is. Temperature 0: one token.
 *
 * @param logits [V], penalised already; not changed
 * @throws DataError as largestLogit
 */
export function candidatesOf(logits: Float32Array, options: SamplingOptions): Candidates {
  const { temperature, topK, topP, minP } = options;
  const best = largestLogit(logits);
  if (temperature === 0) return { ids: Int32Array.of(best), probabilities: Float64Array.of(1) };
  const kept = topK > 0 ? Math.min(topK, logits.length) : logits.length;

  let ids: Int32Array | null = null;
  if (topP < 1 && kept === logits.length) {
    // The nucleus is small in practice: the vocabulary is sorted only if it reaches past the first few.
    const few = largestIds(logits, Math.min(fewIds, kept));
    let total = 0;
    for (const x of logits) total += Math.exp(x - logits[best]);
    if (weigh(logits, few).sum >= topP * total) ids = few.subarray(0, nucleusSize(logits, few, topP, total));
  }
  if (!ids) {
    ids = largestIds(logits, kept);
    if (topP < 1) ids = ids.subarray(0, nucleusSize(logits, ids, topP, weigh(logits, ids).sum));
  }
  if (minP > 0) {
    const least = logits[best] + Math.log(minP);
    let n = 1;
    while (n < ids.length && logits[ids[n]] >= least) n++;
    ids = ids.subarray(0, n);
  }
  const { weights, sum } = weigh(logits, ids, temperature);
  return { ids: ids.slice(), probabilities: weights.map((w) => w / sum) };
}

/** Draws one candidate with one uniform number; of a single candidate, without drawing. */
export function drawToken({ ids, probabilities }: Candidates, random: Random): number {
  if (ids.length === 1) return ids[0];
  let left = random.uniform();
  for (let i = 0; i < ids.length - 1; i++) {
    left -= probabilities[i];
    if (left < 0) return ids[i];
  }
  return ids[ids.length - 1];
}

/**
 * The whole chain.
 *
 * @param logits [V]; changed by the repeat penalty
 * @param seen   all tokens so far, the prompt's first; its last `repeatLastN` are penalised
 * @throws DataError as largestLogit
 */
export function sampleToken(
  logits: Float32Array,
  seen: readonly number[],
  options: SamplingOptions,
  random: Random,
): number {
  const { repeatPenalty, repeatLastN } = options;
  largestLogit(logits); // before the penalty, which would move a NaN or hide where an infinity came from
  const recent = repeatLastN < 0 ? seen : seen.slice(Math.max(0, seen.length - repeatLastN));
  penalizeRepeats(logits, recent, repeatPenalty);
  return drawToken(candidatesOf(logits, options), random);
}

/** ln softmax(logits)[id], in nats: what the model itself gives the token, before any sampling setting. */
export function logProbability(logits: Float32Array, id: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const x of logits) if (x > largest) largest = x;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - largest);
  return logits[id] - largest - Math.log(sum);
}
