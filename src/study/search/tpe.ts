/**
 * Tree-structured Parzen estimator (Bergstra et al. 2011), one key at a time, as Optuna with `multivariate=False` (the
 * default before 5.0; its joint estimator of today, which finds better points, is not built): 10 random trials first,
 * then the best min(ceil(0.1 n), 25) against the rest; of 24 candidates drawn from the good ones' density l, the one with the
 * largest log l - log g. Prior weight 1, magic clip. Trials under way count among the bad ones (constant liar). Lower is better.
 */
import type { Random } from "../../platform/random.ts";
import { type Dimension, innerRange, outerValue, randomPoint, type SearchPoint, type SearchSpace } from "./space.ts";

export interface SearchTrial {
  point: SearchPoint;
  /** null: under way. NaN or infinity: diverged, the worst. */
  value: number | null;
}

const startupTrials = 10;
const candidates = 24;

/** The next point, given all trials in the order in which they began. */
export function tpePoint(space: SearchSpace, trials: readonly SearchTrial[], random: Random): SearchPoint {
  const finished = trials.filter(({ value }) => value !== null);
  if (finished.length < startupTrials) return randomPoint(space, random);
  const worth = ({ value }: SearchTrial) => (Number.isFinite(value) ? value! : Number.MAX_VALUE);
  const good = new Set(
    finished.toSorted((a, b) => worth(a) - worth(b)).slice(0, Math.min(Math.ceil(0.1 * finished.length), 25)),
  );
  const below = trials.filter((trial) => good.has(trial));
  const above = trials.filter((trial) => !good.has(trial));
  const point: SearchPoint = {};
  for (const [key, dimension] of Object.entries(space)) {
    const seen = (those: readonly SearchTrial[]) => those.map((trial) => trial.point[key]!);
    point[key] =
      dimension.type === "choice"
        ? pickChoice(dimension, seen(below), seen(above), random)
        : pickNumber(dimension, seen(below) as number[], seen(above) as number[], random);
  }
  return point;
}

/** Of n trials, oldest first, and the prior: the last 25 weigh 1, older ones less. They add up to 1. */
function kernelWeights(n: number): number[] {
  const ramp = n - 25;
  const age = (i: number) => (i >= ramp ? 1 : ramp === 1 ? 1 / n : 1 / n + ((1 - 1 / n) * i) / (ramp - 1));
  const weights = [...Array.from({ length: n }, (_, i) => age(i)), 1];
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

function pickIndex(weights: readonly number[], random: Random): number {
  let left = random.uniform() * weights.reduce((a, b) => a + b, 0);
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return i;
  }
  return weights.length - 1;
}

type Choice = Extract<Dimension, { type: "choice" }>;

function pickChoice({ values }: Choice, below: SearchPoint[string][], above: SearchPoint[string][], random: Random) {
  const density = (seen: SearchPoint[string][]) => {
    const weights = kernelWeights(seen.length);
    const prior = 1 / (seen.length + 1);
    const row = 1 + prior * values.length;
    return values.map((value) =>
      weights.reduce(
        (sum, weight, k) =>
          sum + weight * (k === seen.length ? 1 / values.length : (prior + (seen[k] === value ? 1 : 0)) / row),
        0,
      ),
    );
  };
  const [l, g] = [density(below), density(above)];
  const drawn = Array.from({ length: candidates }, () => pickIndex(l, random));
  return values[best(drawn, (i) => Math.log(l[i]!) - Math.log(g[i]!))]!;
}

type Range = Exclude<Dimension, { type: "choice" }>;

function pickNumber(range: Range, below: readonly number[], above: readonly number[], random: Random): number {
  const [l, g] = [createParzen(range, below), createParzen(range, above)];
  const drawn = Array.from({ length: candidates }, () => l.sample(random));
  return best(drawn, (value) => l.logDensity(value) - g.logDensity(value));
}

function best<T>(those: readonly T[], score: (one: T) => number): T {
  const scores = those.map(score);
  return those[scores.indexOf(Math.max(...scores))]!;
}

/** A mixture of normals cut off at the range's ends, one at each observation and a wide one in the middle. */
function createParzen(range: Range, observations: readonly number[]) {
  const [low, high] = innerRange(range);
  const inner = (value: number) => (range.log ? Math.log(value) : value);
  const n = observations.length;
  const means = [...observations.map(inner), (low + high) / 2];
  const weights = kernelWeights(n);
  const narrowest = (high - low) / Math.min(100, n + 2);
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => means[a]! - means[b]!);
  const sigmas = means.map(() => high - low);
  // The larger distance to a neighboring observation; the range's ends are neighbors of a single one only.
  for (const [place, i] of order.entries()) {
    const end = (at: number) => (n === 1 ? Math.abs(at - means[i]!) : 0);
    const left = place > 0 ? means[i]! - means[order[place - 1]!]! : end(low);
    const right = place < n - 1 ? means[order[place + 1]!]! - means[i]! : end(high);
    sigmas[i] = Math.min(high - low, Math.max(narrowest, left, right));
  }
  const mass = means.map((mean, i) => normalMass((low - mean) / sigmas[i]!, (high - mean) / sigmas[i]!));
  return {
    sample(random: Random): number {
      const i = pickIndex(weights, random);
      for (;;) {
        const value = means[i]! + sigmas[i]! * random.normal();
        // At least a third of the normal lies inside: its mean does, and it is no wider than the range.
        if (value >= low && value <= high) return outerValue(range, value);
      }
    },
    /** Of a whole number, the mass of its step. */
    logDensity(value: number): number {
      let sum = 0;
      for (let i = 0; i <= n; i++) {
        const z = (at: number) => (at - means[i]!) / sigmas[i]!;
        const share =
          range.type === "int"
            ? normalMass(z(inner(value - 0.5)), z(inner(value + 0.5)))
            : Math.exp(-0.5 * z(inner(value)) ** 2) / (sigmas[i]! * Math.sqrt(2 * Math.PI));
        sum += (weights[i]! * share) / mass[i]!;
      }
      return Math.log(Math.max(sum, Number.MIN_VALUE));
    },
  };
}

/** The standard normal's mass between a and b, from the tail that is nearer, so that small ones keep their digits. */
function normalMass(a: number, b: number): number {
  return a > 0 ? lowerTail(-a) - lowerTail(-b) : lowerTail(b) - lowerTail(a);
}

/** The standard normal's mass below z; Abramowitz and Stegun 26.2.17, error below 7.5e-8. */
function lowerTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI)) * series;
  return z > 0 ? 1 - tail : tail;
}
