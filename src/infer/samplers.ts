/**
 * From logits to a token: the sampling chain, with the names, meanings and order of llama.cpp, so that settings carry over.
 *
 *   logit bias, penalties, (a grammar's mask), top-k, typical, top-p, min-p, temperature, draw
 *
 * Each step but the last narrows or reweights what the one before left; probabilities are those of a softmax over what is
 * left. Temperature 0 takes the largest logit after bias, penalties and mask, and nothing is drawn. One difference: a
 * grammar's mask comes before the chain always, where llama.cpp tries a draw without it first, so that ours is the chain's
 * distribution over what the grammar allows. Pure functions over one row of logits: called by writer.ts; knows no model.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import type { Random } from "../platform/random.ts";

export interface SamplingOptions {
  /** Divides the logits; 0: the likeliest token, always. */
  temperature: number;
  /** Keep the so many likeliest tokens; 0: all. (Fan, Lewis & Dauphin 2018) */
  topK: number;
  /** Keep the likeliest tokens until their probabilities reach this sum; 1: all. (Holtzman et al. 2020) */
  topP: number;
  /** Keep tokens at least so probable as this share of the likeliest one; 0: all. (Nguyen et al. 2024) */
  minP: number;
  /**
   * Keep the tokens whose surprise is nearest the distribution's entropy, until their probabilities reach this sum; 1: all.
   * (Locally typical sampling: Meister, Pimentel, Wiher & Cotterell 2023)
   */
  typicalP: number;
  /** Logits of recent tokens are divided (above 0) or multiplied (below) by this; 1: none. (Keskar et al. 2019) */
  repeatPenalty: number;
  /** Taken off a recent token's logit, once however often it came; 0: none. (OpenAI's API) */
  presencePenalty: number;
  /** Taken off a recent token's logit, as often as it came; 0: none. (OpenAI's API) */
  frequencyPenalty: number;
  /** How many of the last tokens are recent, the prompt's included, for all three penalties; 0: none, -1: all. */
  repeatLastN: number;
  /** Added to the logits of these tokens; -Infinity forbids one. */
  logitBias: Iterable<readonly [id: number, bias: number]>;
}

/** llama.cpp's defaults. */
export const samplingDefaults: Readonly<SamplingOptions> = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  typicalP: 1,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repeatLastN: 64,
  logitBias: [],
};

/** The chain's settings among other options, the rest as by default. */
export function pickSampling(options: Partial<SamplingOptions>): SamplingOptions {
  const picked = Object.keys(samplingDefaults).map((name) => {
    const key = name as keyof SamplingOptions;
    return [key, options[key] ?? samplingDefaults[key]];
  });
  return Object.fromEntries(picked) as SamplingOptions;
}

/** Tokens that may come next, the likeliest first (of equals, the smaller id), with probabilities that sum to 1. */
export interface Candidates {
  ids: Int32Array;
  probabilities: Float64Array;
}

/**
 * @param vocabSize where it is known, a bias' tokens are held to it
 * @throws UsageError naming the option, its range and what came
 */
export function checkSampling(options: SamplingOptions, vocabSize = Number.POSITIVE_INFINITY): void {
  const whole = (x: number) => Number.isSafeInteger(x);
  const { temperature, topK, topP, minP, typicalP, repeatPenalty, presencePenalty, frequencyPenalty } = options;
  const share = (x: number) => x >= 0 && x <= 1;
  const rules: [Exclude<keyof SamplingOptions, "logitBias">, boolean, string][] = [
    ["temperature", temperature >= 0 && Number.isFinite(temperature), "a number from 0 (0 is greedy)"],
    ["topK", whole(topK) && topK >= 0, "a whole number from 0 (0 keeps all)"],
    ["topP", share(topP), "a number from 0 to 1 (1 keeps all)"],
    ["minP", share(minP), "a number from 0 to 1 (0 keeps all)"],
    ["typicalP", share(typicalP), "a number from 0 to 1 (1 keeps all)"],
    ["repeatPenalty", repeatPenalty > 0 && Number.isFinite(repeatPenalty), "a number above 0 (1 is off)"],
    ["presencePenalty", Number.isFinite(presencePenalty), "a number (0 is off)"],
    ["frequencyPenalty", Number.isFinite(frequencyPenalty), "a number (0 is off)"],
    ["repeatLastN", whole(options.repeatLastN) && options.repeatLastN >= -1, "a whole number from -1 (-1 is all)"],
  ];
  for (const [name, sound, wanted] of rules)
    if (!sound) throw new UsageError(`sampling: ${name} is ${options[name]}; expected ${wanted}`);
  for (const [id, bias] of options.logitBias) {
    if (!(whole(id) && id >= 0 && id < vocabSize))
      throw new UsageError(`sampling: logitBias names token ${id}; the vocabulary has ${vocabSize}`);
    if (Number.isNaN(bias) || bias === Number.POSITIVE_INFINITY)
      throw new UsageError(`sampling: the logitBias of token ${id} is ${bias}; expected a number, or -Infinity`);
  }
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

/** What `penalize` takes. */
export type Penalties = Pick<SamplingOptions, "repeatPenalty" | "presencePenalty" | "frequencyPenalty">;

/**
 * llama.cpp's penalties, in place. Of each recent token that came `count` times the logit x becomes
 *
 *   (x > 0 ? x / repeatPenalty : x · repeatPenalty) - count · frequencyPenalty - presencePenalty
 */
export function penalize(logits: Float32Array, recent: Iterable<number>, penalties: Penalties): void {
  const { repeatPenalty, presencePenalty, frequencyPenalty } = penalties;
  if (repeatPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0) return;
  const counts = new Map<number, number>();
  for (const id of recent) counts.set(id, (counts.get(id) ?? 0) + 1);
  for (const [id, count] of counts) {
    const x = logits[id];
    logits[id] = (x > 0 ? x / repeatPenalty : x * repeatPenalty) - count * frequencyPenalty - presencePenalty;
  }
}

/** Up to so many ids are found by insertion, without sorting the vocabulary. */
const fewIds = 256;

/** The `count` largest logits' ids, the largest first, of equals the smaller id. */
export function largestIds(logits: Float32Array, count: number): Int32Array {
  const before = (a: number, b: number) => (logits[a] === logits[b] ? a - b : logits[b] - logits[a]);
  if (count > fewIds) return Int32Array.from(logits.keys()).sort(before).slice(0, count);
  const ids = new Int32Array(Math.min(count, logits.length));
  let length = 0;
  for (let id = 0; id < logits.length && count > 0; id++) {
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
 * The locally typical set, the likeliest first: ids by |−ln p − H|, H the entropy, until their p reach `typicalP`.
 *
 * @param ids the likeliest first
 */
function typicalIds(logits: Float32Array, ids: Int32Array, typicalP: number): Int32Array {
  const { weights, sum } = weigh(logits, ids);
  const surprise = weights.map((w) => -Math.log(w / sum));
  let entropy = 0;
  for (let i = 0; i < weights.length; i++) if (weights[i] > 0) entropy += (weights[i] / sum) * surprise[i];
  const order = [...ids.keys()].sort(
    (a, b) => Math.abs(surprise[a] - entropy) - Math.abs(surprise[b] - entropy) || a - b,
  );
  let kept = 0;
  let size = 0;
  while (size < order.length) {
    kept += weights[order[size++]] / sum;
    if (kept >= typicalP) break;
  }
  const places = order.slice(0, size).sort((a, b) => a - b);
  return Int32Array.from(places, (place) => ids[place]);
}

/**
 * Top-k, typical, top-p, min-p and temperature: what may be drawn and how likely each is. Temperature 0: one token.
 *
 * @param logits [V], biased, penalised and masked already; not changed
 * @throws DataError as largestLogit
 */
export function candidatesOf(logits: Float32Array, options: SamplingOptions): Candidates {
  const { temperature, topK, topP, minP, typicalP } = options;
  const best = largestLogit(logits);
  if (temperature === 0) return { ids: Int32Array.of(best), probabilities: Float64Array.of(1) };
  const kept = topK > 0 ? Math.min(topK, logits.length) : logits.length;

  let ids: Int32Array | null = null;
  if (topP < 1 && typicalP === 1 && kept === logits.length) {
    // The nucleus is small in practice: the vocabulary is sorted only if it reaches past the first few.
    const few = largestIds(logits, Math.min(fewIds, kept));
    let total = 0;
    for (const x of logits) total += Math.exp(x - logits[best]);
    if (weigh(logits, few).sum >= topP * total) ids = few.subarray(0, nucleusSize(logits, few, topP, total));
  }
  if (!ids) {
    ids = largestIds(logits, kept);
    if (typicalP < 1) ids = typicalIds(logits, ids, typicalP);
    if (topP < 1) ids = ids.subarray(0, nucleusSize(logits, ids, topP, weigh(logits, ids).sum));
  }
  if (minP > 0) {
    const least = logits[ids[0]] + Math.log(minP);
    let n = 1;
    while (n < ids.length && logits[ids[n]] >= least) n++;
    ids = ids.subarray(0, n);
  }
  const { weights, sum } = weigh(logits, ids, temperature);
  return { ids: ids.slice(), probabilities: weights.map((w) => w / sum) };
}

/** Draws one candidate with one uniform number; of a single candidate, without drawing. Never one of probability 0. */
export function drawToken({ ids, probabilities }: Candidates, random: Pick<Random, "uniform">): number {
  if (ids.length === 1) return ids[0];
  let left = random.uniform();
  let last = 0;
  for (let i = 0; i < ids.length; i++) {
    if (probabilities[i] > 0) last = i;
    left -= probabilities[i];
    if (left < 0) return ids[i];
  }
  return ids[last];
}

/**
 * The whole chain.
 *
 * @param logits [V]; changed by bias, penalties and mask
 * @param seen   all tokens so far, the prompt's first; its last `repeatLastN` are penalised
 * @param mask   sets the logits of what may not come to -Infinity
 * @throws DataError as largestLogit
 */
export function sampleToken(
  logits: Float32Array,
  seen: readonly number[],
  options: SamplingOptions,
  random: Pick<Random, "uniform">,
  mask?: (logits: Float32Array) => void,
): number {
  const { repeatLastN } = options;
  largestLogit(logits); // before the penalty, which would move a NaN or hide where an infinity came from
  for (const [id, bias] of options.logitBias) logits[id] += bias;
  const recent = repeatLastN < 0 ? seen : seen.slice(Math.max(0, seen.length - repeatLastN));
  penalize(logits, recent, options);
  mask?.(logits);
  return drawToken(candidatesOf(logits, options), random);
}

export interface TokenProbability {
  id: number;
  /** ln of the probability that the model gives it, whatever the sampling settings, in nats. */
  logProbability: number;
}

/** ln of the sum of exp(logits), in float64: what turns logits into log-probabilities. */
export function logSumExp(logits: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const x of logits) if (x > largest) largest = x;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - largest);
  return largest + Math.log(sum);
}

/** ln softmax(logits)[id], in nats: what the model itself gives the token, before any sampling setting. */
export function logProbability(logits: Float32Array, id: number): number {
  return logits[id] - logSumExp(logits);
}
