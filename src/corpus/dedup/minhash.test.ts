// Oracles: sets of strings for shingles and Jaccard; Broder 1997 for the estimate (unbiased, variance J (1 - J) / P);
// Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", figure 3.8, for the curve of 20 bands of 5 rows.
import { expect, test } from "vitest";
import { jaccardOfSets, plantedCorpus, shingleSet } from "../../../test/support/planted-duplicates.ts";
import { createRandom } from "../../platform/random.ts";
import { candidateProbability, chooseBands, lshCurve } from "./lsh.ts";
import { bandHash, distinct, drawPermutations, hashShingles, jaccard, signatureOf } from "./minhash.ts";
import { resolveDedup } from "./options.ts";
import { hashWords, IntList } from "./words.ts";

const shinglesOf = (text: string, size = 5): Int32Array => {
  const [words, shingles] = [new IntList(), new IntList()];
  hashWords(text, words);
  hashShingles(words, size, shingles);
  return distinct(shingles.values.subarray(0, shingles.length));
};

test("hashed shingles have the Jaccard similarity of the strings", () => {
  const corpus = plantedCorpus(200, 3);
  for (let i = 0; i < 200; i++) {
    const { original, text } = corpus.at(i);
    const other = corpus.at(original).text;
    expect(shinglesOf(text)).toHaveLength(shingleSet(text).size);
    expect(jaccard(shinglesOf(text), shinglesOf(other))).toBe(jaccardOfSets(shingleSet(text), shingleSet(other)));
  }
  expect(shinglesOf("one two three four")).toHaveLength(0);
  expect(jaccard(new Int32Array(0), new Int32Array(0))).toBe(0);
});

test.for([0.2, 0.5, 0.8, 0.95])(
  "the estimate of similarity %d is unbiased, with the variance of P fair draws",
  (want) => {
    const permutations = drawPermutations(128, 1);
    const random = createRandom(7);
    const runs = 400;
    let [sum, squares, truth] = [0, 0, 0];
    for (let r = 0; r < runs; r++) {
      // |A and B| = shared, |A or B| = 300.
      const all = Int32Array.from({ length: 300 }, () => random.integer(2 ** 32) | 0);
      const shared = Math.round(300 * want);
      const own = Math.floor((300 - shared) / 2);
      const a = all.subarray(0, shared + own);
      const b = Int32Array.from([...all.subarray(0, shared), ...all.subarray(shared + own)]);
      const [x, y] = [new Int32Array(128), new Int32Array(128)];
      signatureOf(a, a.length, permutations, x);
      signatureOf(b, b.length, permutations, y);
      const estimate = x.filter((value, p) => value === y[p]).length / 128;
      truth = shared / 300;
      sum += estimate;
      squares += (estimate - truth) ** 2;
    }
    const variance = (truth * (1 - truth)) / 128;
    // Five standard errors of the mean; the mean of 400 squares has a relative standard error of sqrt(2 / 400).
    expect(Math.abs(sum / runs - truth)).toBeLessThan(5 * Math.sqrt(variance / runs));
    expect(squares / runs / variance).toBeGreaterThan(1 - 5 * Math.sqrt(2 / runs));
    expect(squares / runs / variance).toBeLessThan(1 + 5 * Math.sqrt(2 / runs));
  },
);

test("bands agree where their rows do, and hardly elsewhere", () => {
  const random = createRandom(2);
  const seen = new Set<string>();
  const out = new Int32Array(2);
  for (let i = 0; i < 20000; i++) {
    bandHash(Int32Array.from([i, random.integer(3), i >> 3, 4]), 0, 1, 2, out, 0);
    seen.add(out.join());
  }
  expect(seen.size).toBe(20000);
  bandHash(Int32Array.from([1, 2, 3]), 0, 1, 2, out, 0);
  const first = out.join();
  bandHash(Int32Array.from([1, 9, 2, 9, 8]), 0, 2, 2, out, 0);
  expect(out.join()).toBe(first);
});

test("the curve of 20 bands of 5 rows is the book's", () => {
  const book = { 0.2: 0.006, 0.3: 0.047, 0.4: 0.186, 0.5: 0.47, 0.6: 0.802, 0.7: 0.975, 0.8: 0.9996 };
  for (const [s, p] of Object.entries(book))
    expect(candidateProbability(Number(s), { bands: 20, rows: 5 })).toBeCloseTo(p, 3);
});

test("bands are chosen with the most rows that still find a pair at the threshold", () => {
  expect(chooseBands(128, 0.8, 0.99)).toEqual({ bands: 21, rows: 6 });
  for (const [permutations, threshold, recall] of [
    [64, 0.5, 0.9],
    [256, 0.9, 0.999],
    [128, 0.7, 0.95],
  ]) {
    const { bands, rows } = chooseBands(permutations, threshold, recall);
    expect(candidateProbability(threshold, { bands, rows })).toBeGreaterThanOrEqual(recall);
    const more = { bands: Math.floor(permutations / (rows + 1)), rows: rows + 1 };
    expect(candidateProbability(threshold, more)).toBeLessThan(recall);
  }
  expect(() => chooseBands(4, 0.1, 0.99)).toThrow("take more of them");
  expect(lshCurve({ bands: 21, rows: 6 })[7].probability).toBe(candidateProbability(0.8, { bands: 21, rows: 6 }));
});

test.for([
  [{ threshold: 1.5 }, "the threshold is 1.5"],
  [{ bands: 4 }, "name bands and rows both"],
  [{ bands: 40, rows: 4 }, "40 bands of 4 rows need 160 permutations; there are 128"],
  [{ shingle: 0 }, "shingle is 0"],
] as const)("options %j are refused", ([options, message]) => {
  expect(() => resolveDedup(options)).toThrow(message);
});

test("a signature is the least value of each permutation, for any number of them, strided or not", () => {
  for (const count of [1, 3, 4, 7, 9]) {
    const permutations = drawPermutations(count, 5);
    const hashes = Int32Array.from([7, -1, 2 ** 31 - 1, -(2 ** 31), 12345, 0]);
    const wanted = Array.from({ length: count }, (_, p) => {
      const values = [...hashes].map((hash) =>
        BigInt.asIntN(32, BigInt.asUintN(32, BigInt(hash ^ permutations.xor[p])) * BigInt(permutations.multiply[p])),
      );
      return Number(values.reduce((least, value) => (value < least ? value : least)));
    });
    const out = new Int32Array(3 * count + 1).fill(9);
    signatureOf(hashes, hashes.length, permutations, out, 3, 1);
    expect(wanted.map((_, p) => out[1 + 3 * p])).toEqual(wanted);
    expect(out.filter((value) => value === 9)).toHaveLength(2 * count + 1);
  }
});
