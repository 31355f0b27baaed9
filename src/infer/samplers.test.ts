// Oracles: distributions small enough to be worked out by hand, llama.cpp's published rules (the sampling chain's order,
// its repeat penalty), a full sort in place of the fast path, and frequencies of draws with a fixed seed.
// Bound of frequencies: with n draws the standard error of a share p is sqrt(p (1 - p) / n); four of them.
import { expect, test } from "vitest";
import { normals } from "../../test/support/random.ts";
import { createRandom } from "../platform/random.ts";
import {
  candidatesOf,
  checkSampling,
  drawToken,
  logProbability,
  penalize,
  type SamplingOptions,
  sampleToken,
} from "./samplers.ts";

const off: SamplingOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  typicalP: 1,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repeatLastN: 64,
  logitBias: [],
};
/** Logits whose softmax is these probabilities. */
const logitsOf = (...probabilities: number[]) => Float32Array.from(probabilities, (p) => Math.log(p));
const rounded = (x: ArrayLike<number>) => Array.from(x, (p) => Number(p.toFixed(6)));

test("with everything off the candidates are the softmax, the likeliest first, of equals the smaller id", () => {
  const { ids, probabilities } = candidatesOf(logitsOf(0.1, 0.4, 0.1, 0.4), off);
  expect([...ids]).toEqual([1, 3, 0, 2]);
  expect(rounded(probabilities)).toEqual([0.4, 0.4, 0.1, 0.1]);
});

test("temperature raises each probability to the power 1 / temperature", () => {
  const { probabilities } = candidatesOf(logitsOf(0.8, 0.2), { ...off, temperature: 0.5 });
  expect(rounded(probabilities)).toEqual([0.941176, 0.058824]); // 0.64 and 0.04 of 0.68
});

test("temperature 0 takes the likeliest token, the first of equals, without drawing", () => {
  const random = createRandom(1);
  const before = random.state();
  expect(sampleToken(logitsOf(0.2, 0.4, 0.4), [], { ...off, temperature: 0 }, random)).toBe(1);
  expect(random.state()).toEqual(before);
});

test("top-k keeps k tokens, and of equals those with the smaller id", () => {
  const { ids, probabilities } = candidatesOf(logitsOf(0.25, 0.25, 0.25, 0.25), { ...off, topK: 3 });
  expect([...ids]).toEqual([0, 1, 2]);
  expect(rounded(probabilities)).toEqual([0.333333, 0.333333, 0.333333]);
});

test("top-p keeps tokens until their sum reaches p, the one that reaches it included", () => {
  const kept = (topP: number) => [...candidatesOf(logitsOf(0.5, 0.25, 0.15, 0.1), { ...off, topP }).ids];
  expect(kept(0.74)).toEqual([0, 1]);
  expect(kept(0.76)).toEqual([0, 1, 2]);
  expect(kept(0)).toEqual([0]);
  expect(kept(0.999)).toEqual([0, 1, 2, 3]);
});

test("min-p keeps tokens at least p times so probable as the likeliest", () => {
  const kept = (minP: number) => [...candidatesOf(logitsOf(0.5, 0.26, 0.14, 0.1), { ...off, minP }).ids];
  expect(kept(0.51)).toEqual([0, 1]);
  expect(kept(0.27)).toEqual([0, 1, 2]);
  expect(kept(1)).toEqual([0]);
});

test("the chain is llama.cpp's: top-p sums what top-k left, and temperature comes last", () => {
  // Of 0.5, 0.25, 0.15 (top-k 3) the shares are 0.556, 0.278, 0.167: top-p 0.8 keeps two. Before top-k it would keep three.
  const options = { ...off, topK: 3, topP: 0.8 };
  expect([...candidatesOf(logitsOf(0.5, 0.25, 0.15, 0.1), options).ids]).toEqual([0, 1]);
  // Were temperature first, 100 would make all four alike and keep them all.
  expect([...candidatesOf(logitsOf(0.5, 0.25, 0.15, 0.1), { ...options, temperature: 100 }).ids]).toEqual([0, 1]);
});

test("the repeat penalty divides positive logits and multiplies negative ones, each recent token once", () => {
  const logits = Float32Array.of(2, -2, 0, 3);
  penalize(logits, [0, 1, 2, 0, 0], { ...off, repeatPenalty: 2 });
  expect([...logits]).toEqual([1, -4, 0, 3]);
});

test("presence counts once, frequency each time, both after the repeat penalty (llama.cpp's formula)", () => {
  const logits = Float32Array.of(2, -2, 0, 3);
  penalize(logits, [0, 1, 2, 0, 0], { repeatPenalty: 2, presencePenalty: 0.5, frequencyPenalty: 0.25 });
  expect([...logits]).toEqual([1 - 3 * 0.25 - 0.5, -4 - 0.75, -0.75, 3]);
});

test("typical sampling keeps what is nearest the entropy in surprise, by Meister et al.'s definition", () => {
  // Of 0.6, 0.2, 0.1, 0.1: H = 1.0889; surprises 0.5108, 1.6094, 2.3026, 2.3026; off by 0.5781,
  // 0.5205, 1.2137, 1.2137: the order is 1, 0, 2, 3.
  const logits = logitsOf(0.6, 0.2, 0.1, 0.1);
  const kept = (typicalP: number) => [...candidatesOf(logits, { ...off, typicalP }).ids];
  expect(kept(0.1)).toEqual([1]);
  expect(kept(0.19)).toEqual([1]);
  expect(kept(0.5)).toEqual([0, 1]);
  expect(kept(0.85)).toEqual([0, 1, 2]);
  // Before top-p and min-p: what typical leaves is what they judge. Of 0.6 and 0.2 the shares are 0.75 and 0.25.
  expect([...candidatesOf(logits, { ...off, typicalP: 0.5, topP: 0.74 }).ids]).toEqual([0]);
  expect([...candidatesOf(logits, { ...off, typicalP: 0.1, minP: 0.9 }).ids]).toEqual([1]);
});

test("a logit bias is added before all else, and -Infinity forbids a token", () => {
  const draw = (logitBias: [number, number][]) =>
    sampleToken(
      Float32Array.of(3, 2, 1),
      [0],
      { ...off, temperature: 0, repeatPenalty: 4, logitBias },
      createRandom(1),
    );
  expect(draw([])).toBe(1); // 3 / 4 < 2
  expect(draw([[0, 6]])).toBe(0); // (3 + 6) / 4 > 2
  expect(draw([[1, Number.NEGATIVE_INFINITY]])).toBe(2);
});

test("the repeat penalty looks back repeatLastN tokens: 0 none, -1 all", () => {
  const greedy = (repeatLastN: number) =>
    sampleToken(
      Float32Array.of(3, 2.9, 2.8),
      [2, 1, 0],
      { ...off, temperature: 0, repeatPenalty: 2, repeatLastN },
      createRandom(1),
    );
  expect([0, 1, 2, 3, -1].map(greedy)).toEqual([0, 1, 2, 0, 0]);
});

test("the fast path over a large vocabulary keeps what a full sort keeps", () => {
  for (const [seed, scale] of [
    [1, 0.1],
    [2, 1],
    [3, 4],
  ]) {
    const logits = normals(3000, seed, scale);
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b);
    const largest = logits[order[0]];
    const total = order.reduce((sum, id) => sum + Math.exp(logits[id] - largest), 0);
    for (const topP of [0.1, 0.5, 0.95]) {
      let n = 0;
      for (let sum = 0; sum < topP * total; n++) sum += Math.exp(logits[order[n]] - largest);
      expect([...candidatesOf(logits, { ...off, topP }).ids]).toEqual(order.slice(0, n));
    }
    for (const topK of [1, 40, 256, 257, 2999, 5000])
      expect([...candidatesOf(logits, { ...off, topK }).ids]).toEqual(order.slice(0, topK));
  }
});

test("draws come as often as their probability says, and the same for the same seed", () => {
  const options = { ...off, temperature: 2, topK: 3 };
  const { ids, probabilities } = candidatesOf(logitsOf(0.1, 0.5, 0.3, 0.1), options);
  const draws = (seed: number, n: number) => {
    const random = createRandom(seed);
    return Array.from({ length: n }, () => sampleToken(logitsOf(0.1, 0.5, 0.3, 0.1), [], options, random));
  };
  const n = 20000;
  const drawn = draws(7, n);
  for (const [i, id] of ids.entries()) {
    const p = probabilities[i];
    const share = drawn.filter((x) => x === id).length / n;
    expect(Math.abs(share - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / n));
  }
  expect(drawn).not.toContain(3);
  expect(draws(7, 50)).toEqual(drawn.slice(0, 50));
  expect(draws(8, 50)).not.toEqual(drawn.slice(0, 50));
});

test("a draw at the very end of the interval is still a candidate", () => {
  const random = { ...createRandom(1), uniform: () => 1 - 2 ** -53 };
  expect(drawToken(candidatesOf(logitsOf(0.3, 0.3, 0.4), off), random)).toBe(1);
});

test("tokens with a logit of -Infinity have no probability", () => {
  const { probabilities } = candidatesOf(Float32Array.of(0, Number.NEGATIVE_INFINITY, 0), off);
  expect(rounded(probabilities)).toEqual([0.5, 0.5, 0]);
});

test("the log-probability is the model's own, whatever the sampling", () => {
  expect(logProbability(logitsOf(0.5, 0.25, 0.25), 1)).toBeCloseTo(Math.log(0.25), 6);
  expect(logProbability(Float32Array.of(1000, 999), 0)).toBeCloseTo(-Math.log(1 + Math.exp(-1)), 6);
});

test("logits that are not finite are an error that names the token", () => {
  for (const options of [off, { ...off, temperature: 0 }, { ...off, repeatPenalty: 2 }]) {
    const draw = (...logits: number[]) => sampleToken(Float32Array.from(logits), [0, 1, 2], options, createRandom(1));
    expect(() => draw(0, 1, Number.NaN)).toThrow("the model's logit of token 2 is NaN");
    expect(() => draw(0, Number.POSITIVE_INFINITY)).toThrow("the model's logit of token 1 is Infinity");
    expect(() => draw(Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY)).toThrow("all 2 logits are -Infinity");
  }
});

test("settings out of range are refused by name", () => {
  const bad: [Partial<SamplingOptions>, string][] = [
    [{ temperature: -1 }, "temperature is -1; expected a number from 0"],
    [{ temperature: Number.NaN }, "temperature is NaN"],
    [{ topK: 1.5 }, "topK is 1.5; expected a whole number"],
    [{ topP: 1.1 }, "topP is 1.1; expected a number from 0 to 1"],
    [{ minP: -0.1 }, "minP is -0.1"],
    [{ repeatPenalty: 0 }, "repeatPenalty is 0; expected a number above 0"],
    [{ repeatLastN: -2 }, "repeatLastN is -2"],
    [{ typicalP: 2 }, "typicalP is 2; expected a number from 0 to 1"],
    [{ presencePenalty: Number.NaN }, "presencePenalty is NaN"],
    [{ frequencyPenalty: Number.POSITIVE_INFINITY }, "frequencyPenalty is Infinity"],
    [{ logitBias: [[-1, 0]] }, "logitBias names token -1"],
    [{ logitBias: [[9, 0]] }, "logitBias names token 9; the vocabulary has 9"],
    [{ logitBias: [[1, Number.NaN]] }, "the logitBias of token 1 is NaN"],
  ];
  for (const [options, message] of bad) expect(() => checkSampling({ ...off, ...options }, 9)).toThrow(message);
  checkSampling(off);
});
